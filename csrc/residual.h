// Changing a frame: blending windows, the residual d(u) at a frame pixel, and rounding. Host and device share it.
//
//   d(u) = w_0(u) d_g(u) + sum_r w_r(u) d_r(u),   w_v(u) = w(t_x) w(t_y),   t = position of u inside the box of view v
//
// A view counts where t lies strictly inside (0, 1)^2. The sum runs in the order of the views.
#pragma once

#include <cstdint>

#include "half.h"
#include "sampling.h"

namespace lgin {

constexpr int kRegions = 5;
constexpr int kViews = 1 + kRegions;

// Frame position to the local unit square of one view: t = t0 + t_dy * dy + t_dx * dx, where (dx, dy) are index
// coordinates relative to the plan's origin. Aligned, so that a GPU loads it in two words; the gaps that this makes have
// names, so that plans are the same to the byte.
struct alignas(16) ViewMap {
  float x0, x_dx, x_dy;
  float y0, y_dx, y_dy;
  float inverse_taper;
  float gap;
};

// How one face is pasted. Made in double on the host (plan.cpp).
struct alignas(16) PastePlan {
  int origin_x, origin_y;        // frame pixel near the face's centre
  int column_begin, column_end;  // bounding box of the face's square inside the frame, in pixels
  int row_begin, row_end;
  float scale;                   // of the residual, to levels of a byte: 127.5, less for a face that fades
  float strength;                // 0 to 1, of all other edits
  float xx, xy, yx, yy;          // a canonical displacement to frame pixels
  float box_width, box_height;   // of the face view's box, canonical
  float gaps[2];
  ViewMap views[kViews];         // the face, then its patches
};

// (1 - cos(pi r)) / 2 for r in [0, 1], as 1/2 + sin(pi s)/2 with s = r - 1/2 and an odd polynomial for the sine: cosf
// differs between the C library and CUDA, a polynomial does not. Fitted to 4e-9; with float's rounding 1.2e-7.
LGIN_HD float raised_cosine(float r) {
  const float s = r - 0.5f;
  const float q = s * s;
  const float sine =
      s * (3.1415925f + q * (-5.1677065f + q * (2.550023f + q * (-0.5979951f + q * 0.07712102f))));
  return 0.5f + 0.5f * sine;
}

// geometry.window for t inside (0, 1).
LGIN_HD float window(float t, float inverse_taper) {
  const float rise = (t < 1.0f - t ? t : 1.0f - t) * inverse_taper;
  return rise >= 1.0f ? 1.0f : raised_cosine(rise);
}

// Position inside a view's box.
struct Local {
  float tx, ty;
};

LGIN_HD Local local(const ViewMap& map, float dx, float dy) {
  return Local{(map.x0 + map.x_dy * dy) + map.x_dx * dx, (map.y0 + map.y_dy * dy) + map.y_dx * dx};
}

LGIN_HD bool inside(const Local& t) { return t.tx > 0.0f && t.tx < 1.0f && t.ty > 0.0f && t.ty < 1.0f; }

// d += w_v d_v at a position in a view. `texels(y, x)` gives the view's residual at a pixel, `texels.size` its side.
template <class Color, class Texels>
LGIN_HD void add_view(const Texels& texels, const ViewMap& map, const Local& t, Color* d) {
  const float w = window(t.tx, map.inverse_taper) * window(t.ty, map.inverse_taper);
  const float size = static_cast<float>(texels.size);
  // Index coordinates are tx * size - 1/2; counted from the pixel -1 they are not negative.
  const Tap x = tap<true>(t.tx * size + 0.5f, -1, texels.size);
  const Tap y = tap<true>(t.ty * size + 0.5f, -1, texels.size);
  *d = *d + w * bilerp<Color>(texels(y.low, x.low), texels(y.low, x.high), texels(y.high, x.low),
                              texels(y.high, x.high), x.fraction, y.fraction);
}

// The residual's views as they lie in memory, planar: face [3, S, S] and patches [5, 3, P, P].
template <class T>
struct PlanarResiduals {
  const T* face;
  const T* patches;
  int face_size, patch_size;

  struct View {
    const T* planes;
    int size;
    LGIN_HD Rgb operator()(int y, int x) const {
      const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(size) * size;
      const T* const p = planes + static_cast<std::ptrdiff_t>(y) * size + x;
      return Rgb{to_float(p[0]), to_float(p[plane]), to_float(p[2 * plane])};
    }
  };
  LGIN_HD View view(int v) const {
    if (v == 0) return View{face, face_size};
    return View{patches + static_cast<std::ptrdiff_t>(v - 1) * 3 * patch_size * patch_size, patch_size};
  }
};

// The change at a position, in levels of a byte; false outside the face's square, which stays as it is.
template <class Residuals>
LGIN_HD bool residual_at(const PastePlan& plan, const Residuals& residuals, float dx, float dy, Rgb* change) {
  Rgb d{0.0f, 0.0f, 0.0f};
  for (int v = 0; v < kViews; ++v) {
    const ViewMap& map = plan.views[v];
    const Local t = local(map, dx, dy);
    if (inside(t)) {
      add_view(residuals.view(v), map, t, &d);
    } else if (v == 0) {
      return false;
    }
  }
  *change = plan.scale * d;
  return true;
}

// A byte changed by `change` levels: clamped, then rounded half up. A change that is not a number is none.
LGIN_HD std::uint8_t changed_byte(std::uint8_t byte, float change) {
  const float valid = change == change ? change : 0.0f;
  return static_cast<std::uint8_t>(clamp_byte(static_cast<float>(byte) + valid) + 0.5f);
}

// The change of Y, U and V that goes with a change of R, G and B: BT.601, limited range.
LGIN_HD float luma_change(const Rgb& d) { return 0.257f * d.r + 0.504f * d.g + 0.098f * d.b; }
LGIN_HD float u_change(const Rgb& d) { return -0.148f * d.r - 0.291f * d.g + 0.439f * d.b; }
LGIN_HD float v_change(const Rgb& d) { return 0.439f * d.r - 0.368f * d.g - 0.071f * d.b; }

}  // namespace lgin
