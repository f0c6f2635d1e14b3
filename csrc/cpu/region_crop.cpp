#include <algorithm>
#include <cmath>

#include "parallel.h"
#include "region_ops.h"
#include "vector.h"

namespace lgin::cpu {
namespace {

constexpr int kRowsPerChunk = 16;

// Offsets of the footprint's samples, worked out once for many pixels.
class OffsetTable {
 public:
  explicit OffsetTable(const ViewPlan& plan) : columns_(plan.na) {
    table_.reserve(static_cast<std::size_t>(plan.na) * static_cast<std::size_t>(plan.nb));
    for (int m = 0; m < plan.nb; ++m) {
      for (int k = 0; k < plan.na; ++k) table_.push_back(footprint_offset(plan, m, k));
    }
  }
  const Offset& operator()(int m, int k) const { return table_[static_cast<std::size_t>(m * columns_ + k)]; }

 private:
  std::vector<Offset> table_;
  int columns_;
};

struct Interval {
  double begin, end;  // j with begin <= j <= end
};

// The j in `within` with low <= base + j * step <= high.
Interval solve(Interval within, double base, double step, double low, double high) {
  constexpr Interval none{1.0, 0.0};
  if (low > high) return none;  // a frame of a few pixels
  if (step == 0.0) return low <= base && base <= high ? within : none;
  const double a = (low - base) / step;
  const double b = (high - base) / step;
  return Interval{std::max(within.begin, std::min(a, b)), std::min(within.end, std::max(a, b))};
}

// The columns of view row i whose samples need no clamping: all their taps, and a pixel around them, lie in the frame.
Interval interior_columns(const ViewPlan& plan, int i, int frame_height, int frame_width) {
  const double ax = plan.ax, ay = plan.ay, bx = plan.bx, by = plan.by;
  // Half a pixel and 2^-16 of the view's extent are far more than float's rounding.
  const double slack_x = 0.5 + 0.5 * (std::fabs(ax) + std::fabs(bx)) +
                         1.5e-5 * (std::fabs(ax) * plan.width + std::fabs(bx) * plan.height);
  const double slack_y = 0.5 + 0.5 * (std::fabs(ay) + std::fabs(by)) +
                         1.5e-5 * (std::fabs(ay) * plan.width + std::fabs(by) * plan.height);
  Interval columns{0.0, plan.width - 1.0};
  columns = solve(columns, plan.x0 + i * bx + plan.origin_x, ax, 1.0 + slack_x, frame_width - 3.0 - slack_x);
  columns = solve(columns, plan.y0 + i * by + plan.origin_y, ay, 1.0 + slack_y, frame_height - 3.0 - slack_y);
  return columns;
}

// A row of a view in its three planes.
template <class T>
struct Row {
  T* r;
  T* g;
  T* b;
};

template <bool Clamp, class Frame, class T>
void crop_columns(const Frame& frame, const ViewPlan& plan, const OffsetTable& offsets, int i, int begin, int end,
                  const Row<T>& row) {
  for (int j = begin; j < end; ++j) {
    const Rgb value = frame.rgb(to_unit(footprint_mean<Clamp>(frame, plan, offsets, i, j)));
    store(row.r + j, value.r);
    store(row.g + j, value.g);
    store(row.b + j, value.b);
  }
}

template <class T>
void crop_interior(const PackedFrame& frame, const ViewPlan& plan, const OffsetTable& offsets, int i, int begin,
                   int end, const Row<T>& row) {
  if (VectorFrame::fits(frame)) {
    crop_columns<false>(VectorFrame(frame), plan, offsets, i, begin, end, row);
  } else {
    crop_columns<false>(frame, plan, offsets, i, begin, end, row);
  }
}

template <class T>
void crop_interior(const Nv12Frame& frame, const ViewPlan& plan, const OffsetTable& offsets, int i, int begin, int end,
                   const Row<T>& row) {
  crop_columns<false>(frame, plan, offsets, i, begin, end, row);
}

template <class Frame, class T>
void crop_rows(const Frame& frame, const ViewPlan& plan, int begin, int end, T* view) {
  const OffsetTable offsets(plan);
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(plan.height) * plan.width;
  for (int i = begin; i < end; ++i) {
    T* const first = view + static_cast<std::ptrdiff_t>(i) * plan.width;
    const Row<T> row{first, first + plane, first + 2 * plane};
    const Interval columns = interior_columns(plan, i, frame.height, frame.width);
    int left = plan.width, right = plan.width;
    if (columns.begin <= columns.end) {
      left = static_cast<int>(std::ceil(columns.begin));
      right = static_cast<int>(std::floor(columns.end)) + 1;
    }
    crop_columns<true>(frame, plan, offsets, i, 0, left, row);
    crop_interior(frame, plan, offsets, i, left, right, row);
    crop_columns<true>(frame, plan, offsets, i, right, plan.width, row);
  }
}

}  // namespace

template <class Frame, class T>
void region_crop(const Frame& frame, const Faces& faces, const Views<T>& views, int threads) {
  const std::vector<ViewPlan> plans = plan_crop(faces, views.face_size, views.patch_size);
  // A chunk is some rows of one view, so that the faces and views of a call share the threads.
  struct Chunk {
    const ViewPlan* plan;
    T* view;
    int begin;
  };
  std::vector<Chunk> chunks;
  const std::ptrdiff_t face_step = 3 * static_cast<std::ptrdiff_t>(views.face_size) * views.face_size;
  const std::ptrdiff_t patch_step = 3 * static_cast<std::ptrdiff_t>(views.patch_size) * views.patch_size;
  for (std::ptrdiff_t n = 0; n < faces.count; ++n) {
    for (std::ptrdiff_t v = 0; v < kViews; ++v) {
      T* const view = v == 0 ? views.face + n * face_step : views.patches + (n * kRegions + v - 1) * patch_step;
      const ViewPlan& plan = plans[static_cast<std::size_t>(n * kViews + v)];
      for (int i = 0; i < plan.height; i += kRowsPerChunk) chunks.push_back(Chunk{&plan, view, i});
    }
  }
  parallel_for(static_cast<int>(chunks.size()), 1, threads, [&](int begin, int end) {
    for (int c = begin; c < end; ++c) {
      const Chunk& chunk = chunks[static_cast<std::size_t>(c)];
      crop_rows(frame, *chunk.plan, chunk.begin, std::min(chunk.begin + kRowsPerChunk, chunk.plan->height), chunk.view);
    }
  });
}

template <class Frame, class T>
void resample(const Frame& frame, const double* affine, T* view, int height, int width, int threads) {
  const ViewPlan plan = plan_view(affine, height, width);
  parallel_for(height, kRowsPerChunk, threads,
               [&](int begin, int end) { crop_rows(frame, plan, begin, end, view); });
}

template void region_crop(const PackedFrame&, const Faces&, const Views<float>&, int);
template void region_crop(const PackedFrame&, const Faces&, const Views<Half>&, int);
template void region_crop(const Nv12Frame&, const Faces&, const Views<float>&, int);
template void region_crop(const Nv12Frame&, const Faces&, const Views<Half>&, int);
template void resample(const PackedFrame&, const double*, float*, int, int, int);
template void resample(const PackedFrame&, const double*, Half*, int, int, int);
template void resample(const Nv12Frame&, const double*, float*, int, int, int);
template void resample(const Nv12Frame&, const double*, Half*, int, int, int);

}  // namespace lgin::cpu
