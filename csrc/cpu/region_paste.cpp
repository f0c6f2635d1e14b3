#include <algorithm>
#include <cmath>
#include <memory>

#include "parallel.h"
#include "region_ops.h"
#include "vector.h"

namespace lgin::cpu {
namespace {

constexpr int kRowsPerChunk = 16;

// Three channels of a frame that are neighbours in memory, R first or B first, can be changed as one vector.
enum class Order { rgb, bgr, other };

Order order_of(const PackedFrame& frame) {
  const std::ptrdiff_t step = frame.offset[1] - frame.offset[0];
  if ((step != 1 && step != -1) || frame.offset[2] - frame.offset[1] != step) return Order::other;
  return step == 1 ? Order::rgb : Order::bgr;
}
Order order_of(const Nv12Frame&) { return Order::other; }

// A texel of a residual: its three planes interleaved, so that it is one vector. B comes first where the frame's does.
struct alignas(16) Texel {
  float channel[4];
};

// A view's texels with its border replicated once more around it, so that every sample inside the view has four.
struct Texels {
  const Texel* corner;  // the replicated corner before texel (0, 0)
  int size;             // of the view

  int stride() const { return size + 2; }
};

class Residuals {
 public:
  Residuals(int face_size, int patch_size, Order order)
      : face_size_(face_size), patch_size_(patch_size), order_(order), texels_(new Texel[index_of(kViews)]) {}

  Order order() const { return order_; }
  Texels view(int v) const { return Texels{texels_.get() + index_of(v), size_of(v)}; }

  template <class T>
  void load(const T* face, const T* patches, int threads) {
    const int rows = face_size_ + kRegions * patch_size_;
    parallel_for(rows, 64, threads, [&](int begin, int end, int) {
      for (int row = begin; row < end; ++row) {
        const int v = row < face_size_ ? 0 : 1 + (row - face_size_) / patch_size_;
        const std::ptrdiff_t i = v == 0 ? row : (row - face_size_) % patch_size_;
        const std::ptrdiff_t size = size_of(v), plane = size * size;
        const T* const source = (v == 0 ? face : patches + 3 * (v - 1) * plane) + i * size;
        const std::size_t bytes = static_cast<std::size_t>(size + 2) * sizeof(Texel);
        Texel* const target = texels_.get() + index_of(v) + (i + 1) * (size + 2);
        const T* const green = source + plane;
        const T* const first = order_ == Order::bgr ? green + plane : source;
        const T* const third = order_ == Order::bgr ? source : green + plane;
        for (std::ptrdiff_t j = 0; j < size; ++j) {
          target[j + 1] = Texel{{to_float(first[j]), to_float(green[j]), to_float(third[j]), 0.0f}};
        }
        target[0] = target[1];
        target[size + 1] = target[size];
        if (i == 0) std::memcpy(target - (size + 2), target, bytes);
        if (i == size - 1) std::memcpy(target + (size + 2), target, bytes);
      }
    });
  }

 private:
  int size_of(int v) const { return v == 0 ? face_size_ : patch_size_; }
  std::size_t index_of(int v) const {
    const std::size_t face = static_cast<std::size_t>(face_size_) + 2, patch = static_cast<std::size_t>(patch_size_) + 2;
    return v == 0 ? 0 : face * face + static_cast<std::size_t>(v - 1) * patch * patch;
  }

  int face_size_, patch_size_;
  Order order_;
  std::unique_ptr<Texel[]> texels_;  // not cleared first: megabytes
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
Span inside_span(const ViewMap& map, const Line& line, Span within) {
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
void add_view(const ViewMap& map, const Line& line, const Texels& texels, int first, int count, Color4* d) {
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
__attribute__((target("avx2"))) void add_view_avx2(const ViewMap& map, const Line& line, const Texels& texels, int first,
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

// Residuals of a line into `d`; returns the positions inside the face's square. residual_at, view by view.
Span residual_line(const PastePlan& plan, const Residuals& residuals, const Line& line, Color4* d) {
#if defined(LGIN_AVX2)
  const auto add = has_avx2() ? add_view_avx2 : add_view;
#else
  const auto add = add_view;
#endif
  const Span face = inside_span(plan.views[0], line, Span{0, line.count});
  std::fill(d + face.begin, d + face.end, Color4{});
  for (int v = 0; v < kViews; ++v) {
    const ViewMap map = plan.views[v];
    const Texels texels = residuals.view(v);
    const Span span = v == 0 ? face : inside_span(map, line, face);
    for (int k = span.begin; k < span.end; k += kBatch) {
      add(map, line, texels, k, std::min(kBatch, span.end - k), d + k);
    }
  }
  return face;
}

Rgb change_at(const PastePlan& plan, const Color4* d, int k) {
  const Color4 c = d[k];
  return plan.scale * Rgb{c[0], c[1], c[2]};
}

Line pixel_line(const PastePlan& plan, int row) {
  return Line{static_cast<float>(row - plan.origin_y), static_cast<float>(plan.column_begin - plan.origin_x), 1.0f,
              plan.column_end - plan.column_begin};
}

// Rows of a face are shared among the threads in units of one row, or of two for NV12 (whose chroma spans two).
int first_unit(const PackedFrame&, const PastePlan& plan) { return plan.row_begin; }
int last_unit(const PackedFrame&, const PastePlan& plan) { return plan.row_end; }
int first_unit(const Nv12Frame&, const PastePlan& plan) { return plan.row_begin / 2; }
int last_unit(const Nv12Frame&, const PastePlan& plan) { return (plan.row_end + 1) / 2; }

// Three neighbouring bytes changed by the first three lanes.
inline void change_neighbours(std::uint8_t* p, const Color4& change) {
  const Int4 bytes = changed_bytes(
      widen_to_int(static_cast<std::uint32_t>(p[0] | p[1] << 8 | p[2] << 16)), change);
  p[0] = static_cast<std::uint8_t>(bytes[0]);
  p[1] = static_cast<std::uint8_t>(bytes[1]);
  p[2] = static_cast<std::uint8_t>(bytes[2]);
}

void paste_unit(const PackedFrame& frame, const PastePlan& plan, const Residuals& residuals, int row, Color4* d) {
  const Span span = residual_line(plan, residuals, pixel_line(plan, row), d);
  const std::ptrdiff_t r = frame.offset[0], g = frame.offset[1], b = frame.offset[2];
  for (int k = span.begin; k < span.end; ++k) {
    std::uint8_t* const p = frame.address(row, plan.column_begin + k);
    const Color4 change = plan.scale * d[k];
    if (residuals.order() != Order::other) {
      change_neighbours(p + g - 1, change);
      continue;
    }
    const Int4 bytes = changed_bytes(Int4{p[r], p[g], p[b], 0}, change);
    p[r] = static_cast<std::uint8_t>(bytes[0]);
    p[g] = static_cast<std::uint8_t>(bytes[1]);
    p[b] = static_cast<std::uint8_t>(bytes[2]);
  }
}

void paste_unit(const Nv12Frame& frame, const PastePlan& plan, const Residuals& residuals, int row_pair, Color4* d) {
  for (int row = std::max(2 * row_pair, plan.row_begin); row < std::min(2 * row_pair + 2, plan.row_end); ++row) {
    const Span span = residual_line(plan, residuals, pixel_line(plan, row), d);
    for (int k = span.begin; k < span.end; ++k) {
      std::uint8_t* const y = frame.luma_address(row, plan.column_begin + k);
      *y = static_cast<std::uint8_t>(changed_bytes(Int4{*y}, Color4{luma_change(change_at(plan, d, k))})[0]);
    }
  }
  // A block's centre is the corner that its four pixels share: half a pixel beyond the first one's centre.
  const int begin = plan.column_begin / 2, end = (plan.column_end + 1) / 2;
  const Line blocks{static_cast<float>(2 * row_pair - plan.origin_y) + 0.5f,
                    static_cast<float>(2 * begin - plan.origin_x) + 0.5f, 2.0f, end - begin};
  const Span span = residual_line(plan, residuals, blocks, d);
  for (int k = span.begin; k < span.end; ++k) {
    const Rgb change = change_at(plan, d, k);
    std::uint8_t* const u = frame.chroma_address(row_pair, begin + k);
    std::uint8_t* const v = u + frame.x_stride;
    const Int4 bytes = changed_bytes(Int4{*u, *v, 0, 0}, Color4{u_change(change), v_change(change), 0.0f, 0.0f});
    *u = static_cast<std::uint8_t>(bytes[0]);
    *v = static_cast<std::uint8_t>(bytes[1]);
  }
}

}  // namespace

template <class Frame, class T>
void region_paste(const Frame& frame, const FacePlan& face_plan, const Views<const T>& views, int threads) {
  if (face_plan.count() == 0) return;
  Residuals residuals(views.face_size, views.patch_size, order_of(frame));
  const std::size_t face_step = face_elements(views), patch_step = patch_elements(views);
  // All memory is there before the first byte changes: a line of each worker, as long as any face's.
  int longest = 0, workers = 0;
  for (const PastePlan& plan : face_plan.pastes()) {
    longest = std::max(longest, plan.column_end - plan.column_begin);
    workers = std::max(workers, (last_unit(frame, plan) - first_unit(frame, plan)) / kRowsPerChunk + 1);
  }
  const std::size_t line = static_cast<std::size_t>(longest);
  const std::unique_ptr<Color4[]> lines(new Color4[line * static_cast<std::size_t>(std::min(threads, workers))]);
  for (std::size_t n = 0; n < face_plan.pastes().size(); ++n) {  // in order, so that overlapping faces add up the same way
    const PastePlan& plan = face_plan.pastes()[n];
    if (plan.column_begin >= plan.column_end || plan.row_begin >= plan.row_end) continue;
    residuals.load(views.face + n * face_step, views.patches + n * patch_step, threads);
    const int first = first_unit(frame, plan);
    parallel_for(last_unit(frame, plan) - first, kRowsPerChunk, threads, [&](int begin, int end, int worker) {
      Color4* const d = lines.get() + line * static_cast<std::size_t>(worker);
      for (int unit = first + begin; unit < first + end; ++unit) paste_unit(frame, plan, residuals, unit, d);
    });
  }
}

template void region_paste(const PackedFrame&, const FacePlan&, const Views<const float>&, int);
template void region_paste(const PackedFrame&, const FacePlan&, const Views<const Half>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const Views<const float>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const Views<const Half>&, int);

}  // namespace lgin::cpu
