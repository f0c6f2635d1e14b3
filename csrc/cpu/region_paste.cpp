#include <algorithm>
#include <cmath>

#include "parallel.h"
#include "region_ops.h"
#include "vector.h"

namespace lgin::cpu {
namespace {

constexpr int kRowsPerChunk = 16;

// A residual's views with their three planes interleaved, so that a texel is one vector.
struct alignas(16) Texel {
  float channel[4];
};

struct Texels {
  const Texel* view;
  int size;

  Color4 operator()(int y, int x) const {
    Color4 color;
    std::memcpy(&color, view + static_cast<std::ptrdiff_t>(y) * size + x, sizeof color);
    return color;
  }
};

class Residuals {
 public:
  Residuals(int face_size, int patch_size)
      : face_size_(face_size), patch_size_(patch_size), texels_(index_of(kViews)) {}

  Texels view(int v) const { return Texels{texels_.data() + index_of(v), size_of(v)}; }

  template <class T>
  void load(const T* face, const T* patches, int threads) {
    const int rows = face_size_ + kRegions * patch_size_;
    parallel_for(rows, 64, threads, [&](int begin, int end) {
      for (int row = begin; row < end; ++row) {
        const int v = row < face_size_ ? 0 : 1 + (row - face_size_) / patch_size_;
        const std::ptrdiff_t i = v == 0 ? row : (row - face_size_) % patch_size_;
        const std::ptrdiff_t size = size_of(v), plane = size * size;
        const T* const source = (v == 0 ? face : patches + 3 * (v - 1) * plane) + i * size;
        Texel* const target = texels_.data() + index_of(v) + i * size;
        for (std::ptrdiff_t j = 0; j < size; ++j) {
          target[j] = Texel{{to_float(source[j]), to_float(source[plane + j]), to_float(source[2 * plane + j]), 0.0f}};
        }
      }
    });
  }

 private:
  int size_of(int v) const { return v == 0 ? face_size_ : patch_size_; }
  std::size_t index_of(int v) const {
    const std::size_t face = static_cast<std::size_t>(face_size_) * static_cast<std::size_t>(face_size_);
    const std::size_t patch = static_cast<std::size_t>(patch_size_) * static_cast<std::size_t>(patch_size_);
    return v == 0 ? 0 : face + static_cast<std::size_t>(v - 1) * patch;
  }

  int face_size_, patch_size_;
  std::vector<Texel> texels_;
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

// Residuals of a line into `d`; returns the positions inside the face's square. residual_at, view by view.
Span residual_line(const PastePlan& plan, const Residuals& residuals, const Line& line, std::vector<Texel>& d) {
  const Span face = inside_span(plan.views[0], line, Span{0, line.count});
  d.resize(static_cast<std::size_t>(line.count));
  std::fill(d.begin() + face.begin, d.begin() + face.end, Texel{});
  for (int v = 0; v < kViews; ++v) {
    const ViewMap map = plan.views[v];
    const Texels texels = residuals.view(v);
    const Span span = v == 0 ? face : inside_span(map, line, face);
    for (int k = span.begin; k < span.end; ++k) {
      Color4 sum;
      std::memcpy(&sum, &d[static_cast<std::size_t>(k)], sizeof sum);
      add_view(texels, map, local(map, line.dx(k), line.dy), &sum);
      std::memcpy(&d[static_cast<std::size_t>(k)], &sum, sizeof sum);
    }
  }
  return face;
}

Rgb change_at(const PastePlan& plan, const std::vector<Texel>& d, int k) {
  const float* const c = d[static_cast<std::size_t>(k)].channel;
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

void paste_unit(const PackedFrame& frame, const PastePlan& plan, const Residuals& residuals, int row,
                std::vector<Texel>& d) {
  const Span span = residual_line(plan, residuals, pixel_line(plan, row), d);
  for (int k = span.begin; k < span.end; ++k) {
    const Rgb change = change_at(plan, d, k);
    std::uint8_t* const p = frame.address(row, plan.column_begin + k);
    std::uint8_t* const r = p + frame.offset[0];
    std::uint8_t* const g = p + frame.offset[1];
    std::uint8_t* const b = p + frame.offset[2];
    const Int4 bytes = changed_bytes(Int4{*r, *g, *b, 0}, Color4{change.r, change.g, change.b, 0.0f});
    *r = static_cast<std::uint8_t>(bytes[0]);
    *g = static_cast<std::uint8_t>(bytes[1]);
    *b = static_cast<std::uint8_t>(bytes[2]);
  }
}

void paste_unit(const Nv12Frame& frame, const PastePlan& plan, const Residuals& residuals, int row_pair,
                std::vector<Texel>& d) {
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
void region_paste(const Frame& frame, const Faces& faces, const Views<const T>& views, const Tapers& tapers,
                  int threads) {
  if (faces.count == 0) return;
  Residuals residuals(views.face_size, views.patch_size);
  const std::size_t face_step = face_elements(views), patch_step = patch_elements(views);
  for (int n = 0; n < faces.count; ++n) {  // in order, so that overlapping faces add up the same way
    const PastePlan plan = plan_paste(faces, n, tapers, frame.height, frame.width);
    if (plan.column_begin >= plan.column_end || plan.row_begin >= plan.row_end) continue;
    const std::size_t index = static_cast<std::size_t>(n);
    residuals.load(views.face + index * face_step, views.patches + index * patch_step, threads);
    const int first = first_unit(frame, plan);
    parallel_for(last_unit(frame, plan) - first, kRowsPerChunk, threads, [&](int begin, int end) {
      std::vector<Texel> d;
      for (int unit = first + begin; unit < first + end; ++unit) paste_unit(frame, plan, residuals, unit, d);
    });
  }
}

template void region_paste(const PackedFrame&, const Faces&, const Views<const float>&, const Tapers&, int);
template void region_paste(const PackedFrame&, const Faces&, const Views<const Half>&, const Tapers&, int);
template void region_paste(const Nv12Frame&, const Faces&, const Views<const float>&, const Tapers&, int);
template void region_paste(const Nv12Frame&, const Faces&, const Views<const Half>&, const Tapers&, int);

}  // namespace lgin::cpu
