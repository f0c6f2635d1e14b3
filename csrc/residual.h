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
// coordinates relative to the plan's origin.
struct ViewMap {
  float x0, x_dx, x_dy;
  float y0, y_dx, y_dy;
  float inverse_taper;
  int size;                      // pixels along a side of the view
};

// How one face is pasted. Made in double on the host (plan.cpp).
struct PastePlan {
  int origin_x, origin_y;        // frame pixel near the face's centre
  int column_begin, column_end;  // bounding box of the face's square inside the frame, in pixels
  int row_begin, row_end;
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

LGIN_HD bool inside(float tx, float ty) { return tx > 0.0f && tx < 1.0f && ty > 0.0f && ty < 1.0f; }

LGIN_HD Rgb lerp(const Rgb& a, const Rgb& b, float t) {
  return Rgb{lerp(a.r, b.r, t), lerp(a.g, b.g, t), lerp(a.b, b.b, t)};
}

// d += w_v d_v at the local position (tx, ty) of a view. `texels(y, x)` gives the view's residual at a pixel.
template <class Texels>
LGIN_HD void add_view(const Texels& texels, const ViewMap& map, float tx, float ty, Rgb* d) {
  const float w = window(tx, map.inverse_taper) * window(ty, map.inverse_taper);
  const float size = static_cast<float>(map.size);
  const Tap x = tap<true>(tx * size - 0.5f, 0, map.size);
  const Tap y = tap<true>(ty * size - 0.5f, 0, map.size);
  const Rgb top = lerp(texels(y.low, x.low), texels(y.low, x.high), x.fraction);
  const Rgb bottom = lerp(texels(y.high, x.low), texels(y.high, x.high), x.fraction);
  const Rgb value = lerp(top, bottom, y.fraction);
  d->r += w * value.r;
  d->g += w * value.g;
  d->b += w * value.b;
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
