#include "parallel.h"
#include "region_ops.h"

namespace lgin::cpu {
namespace {

template <bool Clamp, class Frame, class T>
void crop_row(const Frame& frame, const ViewPlan& plan, int i, T* view) {
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(plan.height) * plan.width;
  T* row = view + static_cast<std::ptrdiff_t>(i) * plan.width;
  for (int j = 0; j < plan.width; ++j) {
    const Rgb value = footprint_mean<Clamp>(frame, plan, i, j);
    store(row + j, value.r);
    store(row + plane + j, value.g);
    store(row + 2 * plane + j, value.b);
  }
}

template <class Frame, class T>
void crop_rows(const Frame& frame, const ViewPlan& plan, int begin, int end, T* view) {
  for (int i = begin; i < end; ++i) {
    if (plan.interior) {
      crop_row<false>(frame, plan, i, view);
    } else {
      crop_row<true>(frame, plan, i, view);
    }
  }
}

constexpr int kRowsPerChunk = 16;

}  // namespace

template <class Frame, class T>
void region_crop(const Frame& frame, const Faces& faces, const Views<T>& views, int threads) {
  const std::vector<ViewPlan> plans = plan_crop(faces.affines, faces.boxes, faces.count, views.face_size,
                                                views.patch_size, frame.height, frame.width);
  // A chunk is some rows of one view, so that the faces and views of a call share the threads.
  struct Chunk {
    const ViewPlan* plan;
    T* view;
    int begin;
  };
  std::vector<Chunk> chunks;
  const std::ptrdiff_t face_step = 3 * static_cast<std::ptrdiff_t>(views.face_size) * views.face_size;
  const std::ptrdiff_t patch_step = 3 * static_cast<std::ptrdiff_t>(views.patch_size) * views.patch_size;
  for (int n = 0; n < faces.count; ++n) {
    for (int v = 0; v < kViews; ++v) {
      T* view = v == 0 ? views.face + n * face_step
                       : views.patches + (static_cast<std::ptrdiff_t>(n) * kRegions + v - 1) * patch_step;
      const ViewPlan& plan = plans[static_cast<std::size_t>(n) * kViews + static_cast<std::size_t>(v)];
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
  const ViewPlan plan = plan_view(affine, height, width, frame.height, frame.width);
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
