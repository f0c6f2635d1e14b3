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

LGIN_HD Rgb operator+(const Rgb& a, const Rgb& b) { return Rgb{a.r + b.r, a.g + b.g, a.b + b.b}; }
LGIN_HD Rgb operator-(const Rgb& a, const Rgb& b) { return Rgb{a.r - b.r, a.g - b.g, a.b - b.b}; }
LGIN_HD Rgb operator*(float t, const Rgb& a) { return Rgb{t * a.r, t * a.g, t * a.b}; }
LGIN_HD Rgb operator/(const Rgb& a, float t) { return Rgb{a.r / t, a.g / t, a.b / t}; }
LGIN_HD Rgb operator-(const Rgb& a, float t) { return Rgb{a.r - t, a.g - t, a.b - t}; }

// Bytes within a row. A GPU's frames are C-contiguous: 32 bits hold them, in half the registers.
#if defined(__CUDA_ARCH__)
using RowBytes = int;
#else
using RowBytes = std::ptrdiff_t;
#endif

// Packed 8-bit pixels of any channel order and any strides, also negative ones.
struct PackedFrame {
  using Color = Rgb;

  std::uint8_t* data;           // pixel (0, 0); crop only reads
  std::ptrdiff_t x_stride;      // bytes from a pixel to its right neighbour
  std::ptrdiff_t y_stride;      // bytes from a pixel to the one below
  std::ptrdiff_t offset[3];     // bytes from the pixel's address to its R, G and B
  int width, height;

  LGIN_HD std::uint8_t* address(int y, int x) const { return data + y * y_stride + x * static_cast<RowBytes>(x_stride); }
  LGIN_HD Rgb pixel(int y, int x) const {
    const std::uint8_t* const p = address(y, x);
    return Rgb{static_cast<float>(p[static_cast<RowBytes>(offset[0])]), static_cast<float>(p[static_cast<RowBytes>(offset[1])]),
               static_cast<float>(p[static_cast<RowBytes>(offset[2])])};
  }
  LGIN_HD Rgb rgb(const Rgb& color) const { return color; }
};

// NV12: a full-size Y plane, then a plane of U, V pairs of half the width and height. A chroma sample lies at the centre
// of its 2x2 block of luma pixels. BT.601, limited range.
struct Nv12Frame {
  using Color = Rgb;

  std::uint8_t* data;           // Y (0, 0); crop only reads
  std::uint8_t* chroma;         // U (0, 0)
  std::ptrdiff_t x_stride;      // bytes from an element to the next in its row; U to V is one, U to U two
  std::ptrdiff_t y_stride;      // bytes from a row to the next, in both planes
  int width, height;            // of Y; both even

  LGIN_HD std::uint8_t* luma_address(int y, int x) const { return data + y * y_stride + x * x_stride; }
  LGIN_HD std::uint8_t* chroma_address(int y, int x) const { return chroma + y * y_stride + 2 * x * x_stride; }
  LGIN_HD float luma(int y, int x) const { return static_cast<float>(*luma_address(y, x)); }
  LGIN_HD float u(int y, int x) const { return static_cast<float>(*chroma_address(y, x)); }
  LGIN_HD float v(int y, int x) const { return static_cast<float>(chroma_address(y, x)[x_stride]); }
  LGIN_HD Rgb rgb(const Rgb& color) const { return color; }
};

// How one view samples the frame. Made in double on the host (plan.cpp). Aligned, so that a GPU loads it in few words.
struct alignas(16) ViewPlan {
  int origin_x, origin_y;       // even; every sample of the view has relative coordinates >= 1
  float x0, y0;                 // index coordinates of view pixel (0, 0), relative to the origin
  float ax, ay;                 // step to the next view pixel of the row, in frame pixels
  float bx, by;                 // step to the next row
  int na, nb;                   // samples along each step
  int width, height;            // of the view
};

LGIN_HD int clamp_int(int i, int low, int high) { return i < low ? low : (i > high ? high : i); }

LGIN_HD float clamp_byte(float x) { return x > 0.0f ? (x < 255.0f ? x : 255.0f) : 0.0f; }

// Exact when both ends are equal, so that a flat picture stays flat. V is a float or a colour.
template <class V>
LGIN_HD V lerp(const V& a, const V& b, float t) {
  return a + t * (b - a);
}

// Down first, then across: on the CPU the left and the right neighbours fill one vector.
template <class V>
LGIN_HD V bilerp(const V& p00, const V& p01, const V& p10, const V& p11, float fx, float fy) {
  return lerp(lerp(p00, p10, fy), lerp(p01, p11, fy), fx);
}

// Corner of a bilinear sample: the pixel at or before the position, the one after it, and the fraction between them.
// Relative positions are never negative, so that truncation is the floor.
struct Tap {
  int low, high;
  float fraction;
};

template <bool Clamp>
LGIN_HD Tap tap(float x, int origin, int size) {
  const int i = static_cast<int>(x);
  const int index = i + origin;
  const float fraction = x - static_cast<float>(i);
  if (!Clamp) return Tap{index, index + 1, fraction};
  return Tap{clamp_int(index, 0, size - 1), clamp_int(index + 1, 0, size - 1), fraction};
}

// Index coordinate of a frame in the chroma planes of NV12: chroma sample c has its centre at the position 2c + 1 of the
// frame, the index coordinate 2c + 1/2.
LGIN_HD float chroma_coordinate(float x) { return x * 0.5f - 0.25f; }

// Bilinear sample with the border replicated, 0 to 255. `frame` is a PackedFrame, or another with a `pixel` of its own.
template <bool Clamp, class Frame>
LGIN_HD typename Frame::Color sample(const Frame& frame, const ViewPlan& plan, float x, float y) {
  const Tap tx = tap<Clamp>(x, plan.origin_x, frame.width);
  const Tap ty = tap<Clamp>(y, plan.origin_y, frame.height);
  return bilerp(frame.pixel(ty.low, tx.low), frame.pixel(ty.low, tx.high), frame.pixel(ty.high, tx.low),
                frame.pixel(ty.high, tx.high), tx.fraction, ty.fraction);
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
  const Tap cx = tap<Clamp>(chroma_coordinate(x), plan.origin_x / 2, frame.width / 2);
  const Tap cy = tap<Clamp>(chroma_coordinate(y), plan.origin_y / 2, frame.height / 2);
  return rgb_from_yuv(bilerp(frame.luma(ty.low, tx.low), frame.luma(ty.low, tx.high), frame.luma(ty.high, tx.low),
                             frame.luma(ty.high, tx.high), tx.fraction, ty.fraction),
                      bilerp(frame.u(cy.low, cx.low), frame.u(cy.low, cx.high), frame.u(cy.high, cx.low),
                             frame.u(cy.high, cx.high), cx.fraction, cy.fraction),
                      bilerp(frame.v(cy.low, cx.low), frame.v(cy.low, cx.high), frame.v(cy.high, cx.low),
                             frame.v(cy.high, cx.high), cx.fraction, cy.fraction));
}

// Centre of view pixel (i, j): index coordinates relative to the origin.
struct Position {
  float x, y;
};

LGIN_HD Position view_position(const ViewPlan& plan, int i, int j) {
  return Position{(plan.x0 + static_cast<float>(i) * plan.bx) + static_cast<float>(j) * plan.ax,
                  (plan.y0 + static_cast<float>(i) * plan.by) + static_cast<float>(j) * plan.ay};
}

// Displacement of a sample from its view pixel's centre, in frame pixels.
struct Offset {
  float x, y;
};

LGIN_HD Offset footprint_offset(const ViewPlan& plan, int m, int k) {
  const float u = (static_cast<float>(k) + 0.5f) / static_cast<float>(plan.na) - 0.5f;
  const float v = (static_cast<float>(m) + 0.5f) / static_cast<float>(plan.nb) - 0.5f;
  return Offset{u * plan.ax + v * plan.bx, u * plan.ay + v * plan.by};
}

// View pixel (i, j): the mean of na x nb bilinear samples over its footprint, 0 to 255. `offset(m, k)` gives
// footprint_offset, worked out or looked up.
template <bool Clamp, class Frame, class Offsets>
LGIN_HD typename Frame::Color footprint_mean(const Frame& frame, const ViewPlan& plan, const Offsets& offset, int i,
                                             int j) {
  const Position p = view_position(plan, i, j);
  if (plan.na == 1 && plan.nb == 1) return sample<Clamp>(frame, plan, p.x, p.y);
  typename Frame::Color sum{};
  for (int m = 0; m < plan.nb; ++m) {
    for (int k = 0; k < plan.na; ++k) {
      const Offset d = offset(m, k);
      sum = sum + sample<Clamp>(frame, plan, p.x + d.x, p.y + d.y);
    }
  }
  return sum / static_cast<float>(plan.na * plan.nb);
}

// 0..255 to -1..1.
template <class Color>
LGIN_HD Color to_unit(const Color& color) {
  return color / 127.5f - 1.0f;
}

}  // namespace lgin
