// Reading a frame: formats, bilinear samples and the mean over a view pixel's footprint. Host and device share it.
//
// The frame's pixel (i, j) covers [j, j+1] x [i, i+1]. Here a position is an *index coordinate*: pixel (i, j) has its
// centre at x = j, y = i (half a pixel less than the position in the frame), relative to the plan's integer origin, so
// that float keeps its precision in a 16k frame. All sums have one order, and no operation is contracted to FMA.
#pragma once

#include <cstddef>
#include <cstdint>

#include "half.h"

namespace lgin {

struct Rgb {
  float r, g, b;
};

// Packed 8-bit pixels of any channel order and any strides, also negative ones.
struct PackedFrame {
  std::uint8_t* data;           // pixel (0, 0); crop only reads
  std::ptrdiff_t x_stride;      // bytes from a pixel to its right neighbour
  std::ptrdiff_t y_stride;      // bytes from a pixel to the one below
  std::ptrdiff_t offset[3];     // bytes from the pixel's address to its R, G and B
  int width, height;
};

// NV12: a full-size Y plane, then a plane of U, V pairs of half the width and height. A chroma sample lies at the centre
// of its 2x2 block of luma pixels. BT.601, limited range.
struct Nv12Frame {
  std::uint8_t* data;           // Y (0, 0); crop only reads
  std::uint8_t* chroma;         // U (0, 0)
  std::ptrdiff_t x_stride;      // bytes from an element to the next in its row; U to V is one, U to U two
  std::ptrdiff_t y_stride;      // bytes from a row to the next, in both planes
  int width, height;            // of Y; both even
};

// How one view samples the frame. Made in double on the host (plan.cpp).
struct ViewPlan {
  int origin_x, origin_y;       // even, near the view's centre
  float x0, y0;                 // index coordinates of view pixel (0, 0), relative to the origin
  float ax, ay;                 // step to the next view pixel of the row, in frame pixels
  float bx, by;                 // step to the next row
  int na, nb;                   // samples along each step
  int width, height;            // of the view
  bool interior;                // every sample and its right and lower neighbour lie inside the frame
};

LGIN_HD int floor_to_int(float x) {  // |x| < 2^31 is the plan's promise
  const int i = static_cast<int>(x);
  return i - (static_cast<float>(i) > x ? 1 : 0);
}

LGIN_HD int clamp_int(int i, int low, int high) { return i < low ? low : (i > high ? high : i); }

LGIN_HD float clamp_byte(float x) { return x < 0.0f ? 0.0f : (x > 255.0f ? 255.0f : x); }

// Exact when both ends are equal, so that a flat picture stays flat.
LGIN_HD float lerp(float a, float b, float t) { return a + t * (b - a); }

LGIN_HD float bilerp(int p00, int p01, int p10, int p11, float fx, float fy) {
  const float top = lerp(static_cast<float>(p00), static_cast<float>(p01), fx);
  const float bottom = lerp(static_cast<float>(p10), static_cast<float>(p11), fx);
  return lerp(top, bottom, fy);
}

// Corner of a bilinear sample: the pixel at or before the position, the one after it, and the fraction between them.
struct Tap {
  int low, high;
  float fraction;
};

template <bool Clamp>
LGIN_HD Tap tap(float x, int origin, int size) {
  const int i = floor_to_int(x);
  const int index = i + origin;
  const float fraction = x - static_cast<float>(i);
  if (!Clamp) return Tap{index, index + 1, fraction};
  return Tap{clamp_int(index, 0, size - 1), clamp_int(index + 1, 0, size - 1), fraction};
}

// Bilinear sample with the border replicated; 0 to 255.
template <bool Clamp>
LGIN_HD Rgb sample(const PackedFrame& frame, const ViewPlan& plan, float x, float y) {
  const Tap tx = tap<Clamp>(x, plan.origin_x, frame.width);
  const Tap ty = tap<Clamp>(y, plan.origin_y, frame.height);
  const std::uint8_t* top = frame.data + ty.low * frame.y_stride;
  const std::uint8_t* bottom = frame.data + ty.high * frame.y_stride;
  const std::ptrdiff_t left = tx.low * frame.x_stride;
  const std::ptrdiff_t right = tx.high * frame.x_stride;
  const std::ptrdiff_t r = frame.offset[0], g = frame.offset[1], b = frame.offset[2];
  return Rgb{
      bilerp(top[left + r], top[right + r], bottom[left + r], bottom[right + r], tx.fraction, ty.fraction),
      bilerp(top[left + g], top[right + g], bottom[left + g], bottom[right + g], tx.fraction, ty.fraction),
      bilerp(top[left + b], top[right + b], bottom[left + b], bottom[right + b], tx.fraction, ty.fraction),
  };
}

// BT.601 limited range to RGB, with the coefficients of OpenCV's NV12 conversion; clamped to 0..255.
LGIN_HD Rgb rgb_from_yuv(float y, float u, float v) {
  const float luma = 1.164f * (y < 16.0f ? 0.0f : y - 16.0f);
  const float cu = u - 128.0f;
  const float cv = v - 128.0f;
  return Rgb{
      clamp_byte(luma + 1.596f * cv),
      clamp_byte(luma - 0.813f * cv - 0.391f * cu),
      clamp_byte(luma + 2.018f * cu),
  };
}

// Y and UV are sampled each in its own plane and converted after.
template <bool Clamp>
LGIN_HD Rgb sample(const Nv12Frame& frame, const ViewPlan& plan, float x, float y) {
  const Tap tx = tap<Clamp>(x, plan.origin_x, frame.width);
  const Tap ty = tap<Clamp>(y, plan.origin_y, frame.height);
  const std::uint8_t* top = frame.data + ty.low * frame.y_stride;
  const std::uint8_t* bottom = frame.data + ty.high * frame.y_stride;
  const std::ptrdiff_t left = tx.low * frame.x_stride;
  const std::ptrdiff_t right = tx.high * frame.x_stride;
  const float luma = bilerp(top[left], top[right], bottom[left], bottom[right], tx.fraction, ty.fraction);

  // Chroma sample c has its centre at the position 2c + 1 of the frame, the index coordinate 2c + 1/2.
  const Tap cx = tap<Clamp>(x * 0.5f - 0.25f, plan.origin_x / 2, frame.width / 2);
  const Tap cy = tap<Clamp>(y * 0.5f - 0.25f, plan.origin_y / 2, frame.height / 2);
  top = frame.chroma + cy.low * frame.y_stride;
  bottom = frame.chroma + cy.high * frame.y_stride;
  const std::ptrdiff_t v = frame.x_stride;
  const std::ptrdiff_t cl = cx.low * (2 * frame.x_stride);
  const std::ptrdiff_t cr = cx.high * (2 * frame.x_stride);
  return rgb_from_yuv(luma, bilerp(top[cl], top[cr], bottom[cl], bottom[cr], cx.fraction, cy.fraction),
                      bilerp(top[cl + v], top[cr + v], bottom[cl + v], bottom[cr + v], cx.fraction, cy.fraction));
}

LGIN_HD float to_unit(float byte) { return byte / 127.5f - 1.0f; }

// View pixel (i, j): the mean of na x nb bilinear samples over its footprint, in [-1, 1].
template <bool Clamp, class Frame>
LGIN_HD Rgb footprint_mean(const Frame& frame, const ViewPlan& plan, int i, int j) {
  const float x = (plan.x0 + static_cast<float>(i) * plan.bx) + static_cast<float>(j) * plan.ax;
  const float y = (plan.y0 + static_cast<float>(i) * plan.by) + static_cast<float>(j) * plan.ay;
  Rgb sum;
  if (plan.na == 1 && plan.nb == 1) {
    sum = sample<Clamp>(frame, plan, x, y);
  } else {
    sum = Rgb{0.0f, 0.0f, 0.0f};
    for (int m = 0; m < plan.nb; ++m) {
      const float v = (static_cast<float>(m) + 0.5f) / static_cast<float>(plan.nb) - 0.5f;
      for (int k = 0; k < plan.na; ++k) {
        const float u = (static_cast<float>(k) + 0.5f) / static_cast<float>(plan.na) - 0.5f;
        const Rgb s = sample<Clamp>(frame, plan, x + (u * plan.ax + v * plan.bx), y + (u * plan.ay + v * plan.by));
        sum.r += s.r;
        sum.g += s.g;
        sum.b += s.b;
      }
    }
    const float count = static_cast<float>(plan.na * plan.nb);
    sum.r /= count;
    sum.g /= count;
    sum.b /= count;
  }
  return Rgb{to_unit(sum.r), to_unit(sum.g), to_unit(sum.b)};
}

}  // namespace lgin
