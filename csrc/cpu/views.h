// Texels of a view as vectors, and the positions of a line that lie inside it: what pastes of every format share.
#pragma once

#include <algorithm>
#include <cmath>

#include "region_ops.h"
#include "vector.h"

namespace lgin::cpu {

constexpr int kRowsPerChunk = 16;

// Three channels of a frame that are neighbours in memory, R first or B first, can be changed as one vector.
enum class Order { rgb, bgr, other };

inline Order order_of(const PackedFrame& frame) {
  const std::ptrdiff_t step = frame.offset[1] - frame.offset[0];
  if ((step != 1 && step != -1) || frame.offset[2] - frame.offset[1] != step) return Order::other;
  return step == 1 ? Order::rgb : Order::bgr;
}
inline Order order_of(const Nv12Frame&) { return Order::other; }

// A texel of a view: its three or four planes interleaved, so that it is one vector. B comes first where the frame's does.
struct alignas(16) Texel {
  float channel[4];
};

// A view's texels with its border replicated once more around it, so that every sample inside the view has four.
struct Texels {
  const Texel* corner;  // the replicated corner before texel (0, 0)
  int size;             // of the view

  int stride() const { return size + 2; }
};

// Positions of a row to be changed: dx(k) = first + k * step and dy, relative to the plan's origin.
struct Line {
  float dy, first, step;
  int count;

  float dx(int k) const { return first + static_cast<float>(k) * step; }
};

struct Span {
  int begin, end;
};

// The k in `within` whose position lies inside the view. Positions are monotone in k, so these are an interval: guessed
// from the real line, then corrected at both ends by the very test that the device makes at each pixel.
inline Span inside_span(const ViewMap& map, const Line& line, Span within) {
  double begin = within.begin, end = within.end;
  const auto cut = [&](double base, double slope) {
    if (slope == 0.0) return;
    const double a = -base / slope, b = (1.0 - base) / slope;
    begin = std::max(begin, std::floor(std::min(a, b)) - 2.0);
    end = std::min(end, std::ceil(std::max(a, b)) + 3.0);
  };
  const double x_slope = map.x_dx, y_slope = map.y_dx;
  cut(map.x0 + static_cast<double>(map.x_dy) * line.dy + x_slope * line.first, x_slope * line.step);
  cut(map.y0 + static_cast<double>(map.y_dy) * line.dy + y_slope * line.first, y_slope * line.step);
  if (!(begin < end)) return Span{0, 0};
  Span span{static_cast<int>(begin), static_cast<int>(end)};
  const auto is_inside = [&](int k) { return inside(local(map, line.dx(k), line.dy)); };
  while (span.begin < span.end && !is_inside(span.begin)) ++span.begin;
  while (span.begin < span.end && !is_inside(span.end - 1)) --span.end;
  return span;
}

// A batch of neighbouring positions of a line, all inside a view: the first of four texels and the weights of each.
constexpr int kBatch = 64;

struct Taps {
  int index[kBatch];
  float fx[kBatch], fy[kBatch], weight[kBatch];
};

// add_view's arithmetic before it reads a texel. Index coordinates, counted from the replicated border, are >= 1/2.
inline void locate(const ViewMap& map, const Line& line, const Texels& texels, int first, int count, Taps* taps) {
  const float size = static_cast<float>(texels.size);
  const int stride = texels.stride();
  for (int c = 0; c < count; ++c) {
    const Local t = local(map, line.dx(first + c), line.dy);
    const Tap x = tap<false>(t.tx * size + 0.5f, 0, 0);
    const Tap y = tap<false>(t.ty * size + 0.5f, 0, 0);
    taps->index[c] = y.low * stride + x.low;
    taps->fx[c] = x.fraction;
    taps->fy[c] = y.fraction;
    taps->weight[c] = window(t.tx, map.inverse_taper) * window(t.ty, map.inverse_taper);
  }
}

inline Color4 load_texel(const Texel* texel) {
  Color4 color;
  std::memcpy(&color, texel, sizeof color);
  return color;
}

// d += w_v d_v at `count` positions from `first` on.
inline void add_view(const ViewMap& map, const Line& line, const Texels& texels, int first, int count, Color4* d) {
  Taps taps;
  locate(map, line, texels, first, count, &taps);
  for (int c = 0; c < count; ++c) {
    const Texel* const p = texels.corner + taps.index[c];
    const Texel* const q = p + texels.stride();
    d[c] += taps.weight[c] *
            bilerp(load_texel(p), load_texel(p + 1), load_texel(q), load_texel(q + 1), taps.fx[c], taps.fy[c]);
  }
}

#if defined(LGIN_AVX2)
__attribute__((target("avx2"))) inline void add_view_avx2(const ViewMap& map, const Line& line, const Texels& texels, int first,
                                                   int count, Color4* d) {
  Taps taps;
  locate(map, line, texels, first, count, &taps);
  for (int c = 0; c < count; ++c) {
    const float* const p = texels.corner[taps.index[c]].channel;
    const __m256 upper = _mm256_loadu_ps(p), lower = _mm256_loadu_ps(p + 4 * texels.stride());
    const __m256 columns = upper + taps.fy[c] * (lower - upper);
    const __m128 left = _mm256_castps256_ps128(columns), right = _mm256_extractf128_ps(columns, 1);
    d[c] += taps.weight[c] * (left + taps.fx[c] * (right - left));
  }
}
#endif

inline Line pixel_line(const PastePlan& plan, int row) {
  return Line{static_cast<float>(row - plan.origin_y), static_cast<float>(plan.column_begin - plan.origin_x), 1.0f,
              plan.column_end - plan.column_begin};
}

// Centres of NV12's 2x2 blocks: the corners that their pixels share, half a pixel beyond the first one's centre.
inline Line block_line(const PastePlan& plan, int row_pair) {
  const int begin = plan.column_begin / 2, end = (plan.column_end + 1) / 2;
  return Line{static_cast<float>(2 * row_pair - plan.origin_y) + 0.5f,
              static_cast<float>(2 * begin - plan.origin_x) + 0.5f, 2.0f, end - begin};
}

// Rows of a face are shared among the threads in units of one row, or of two for NV12 (whose chroma spans two).
inline int first_unit(const PackedFrame&, const PastePlan& plan) { return plan.row_begin; }
inline int last_unit(const PackedFrame&, const PastePlan& plan) { return plan.row_end; }
inline int first_unit(const Nv12Frame&, const PastePlan& plan) { return plan.row_begin / 2; }
inline int last_unit(const Nv12Frame&, const PastePlan& plan) { return (plan.row_end + 1) / 2; }

}  // namespace lgin::cpu
