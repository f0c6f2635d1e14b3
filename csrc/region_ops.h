// The operations behind the binding: plain pointers in, nothing of Python. One declaration, an implementation a device.
#pragma once

#include <cstddef>
#include <stdexcept>

#include "block.h"
#include "edits.h"
#include "plan.h"

namespace lgin {

// Planar views: `face` [count, 3, face_size, face_size] and `patches` [count, 5, 3, patch_size, patch_size],
// C-contiguous. Crop writes pictures to them (T is float or Half), paste reads residuals (T is const).
template <class T>
struct Views {
  T* face;
  T* patches;
  int face_size;
  int patch_size;
};

// Elements of one face in each of the two arrays.
template <class T>
std::size_t face_elements(const Views<T>& views) {
  return 3 * static_cast<std::size_t>(views.face_size) * static_cast<std::size_t>(views.face_size);
}
template <class T>
std::size_t patch_elements(const Views<T>& views) {
  return kRegions * 3 * static_cast<std::size_t>(views.patch_size) * static_cast<std::size_t>(views.patch_size);
}

// Edits of format 2 of several faces, each array C-contiguous: face [count, 6, face_size, face_size] and so on, as PlanarEdits
// has them of one. flow, place and lines may be null.
template <class T>
struct EditViews {
  PlanarEdits<T> first;

  PlanarEdits<T> of(std::size_t n) const {
    const auto area = [](int side) { return static_cast<std::size_t>(side) * static_cast<std::size_t>(side); };
    PlanarEdits<T> edits = first;
    edits.face += n * 6 * area(first.face_size);
    edits.patches += n * kRegions * 4 * area(first.patch_size);
    if (edits.flow) edits.flow += n * 2 * area(first.coarse_size);
    if (edits.place) edits.place += n * 2 * area(first.coarse_size);
    if (edits.lines) edits.lines += n * area(first.line_size);
    return edits;
  }
};

// A device that was asked for is not there, or failed.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

namespace cpu {

template <class Frame, class T>
void region_crop(const Frame& frame, const FacePlan& plan, const Views<T>& views, int threads);

template <class Frame, class T>
void resample(const Frame& frame, const double* affine, T* view, int height, int width, int threads);

// `frame` is read and written in place.
template <class Frame, class T>
void region_paste(const Frame& frame, const FacePlan& plan, const Views<const T>& residuals, int threads);

// The same of format 2.
template <class Frame, class T>
void region_paste(const Frame& frame, const FacePlan& plan, const EditViews<T>& edits, int threads);

}  // namespace cpu

// The same on CUDA device number `device`. Throw DeviceError; in a build without CUDA, always.
namespace cuda {

// With host arrays: staged up and down on a stream of their own. The frame is C-contiguous.

template <class Frame, class T>
void region_crop(const Frame& frame, const FacePlan& plan, const Views<T>& views, int device);

template <class Frame, class T>
void region_paste(const Frame& frame, const FacePlan& plan, const Views<const T>& residuals, int device);

template <class Frame, class T>
void region_paste(const Frame& frame, const FacePlan& plan, const EditViews<T>& edits, int device);

// With addresses of device memory, on a stream of the caller's (a cudaStream_t): one launch, nothing staged and nothing
// waited for. All that changes from frame to frame lies in the block, so that a captured launch serves another frame.
template <class Frame, class T>
void launch_crop(const Block<Frame>& block, const Views<T>& views, int device, void* stream);

// One face of the block, whose residuals are `residuals`. The frame that is changed lies `target_offset` bytes beyond the
// block's. Threads are started for `pixels` pixels, whatever the face's size; they take a bigger face in turns.
template <class Frame, class T>
void launch_paste(const Block<Frame>& block, int index, const Views<const T>& residuals, long long pixels,
                  std::ptrdiff_t target_offset, int device, void* stream);

// The same of format 2, in two launches: `scratch` takes what the face moves from, and whether it has colour. It has
// kScratchHead bytes more than the block's frame, and is a multiple of kBlockAlignment.
constexpr std::size_t kScratchHead = kBlockAlignment;
template <class Frame, class T>
void launch_paste(const Block<Frame>& block, int index, const PlanarEdits<T>& edits, long long pixels,
                  std::ptrdiff_t target_offset, std::uint8_t* scratch, int device, void* stream);

// Arrays of at least one value each, 1 to kMost of them.
template <class T>
struct FiniteChecks {
  static constexpr int kMost = 8;
  const T* values[kMost];
  long long counts[kMost];
  int size;
};

// Sets `found[i]`, in memory of the device, to 1 where a value of array i is NaN or infinite. One launch.
template <class T>
void launch_finite_check(const FiniteChecks<T>& arrays, std::uint32_t* found, int device, void* stream);

int device_count() noexcept;  // 0 also when there is no driver
bool built() noexcept;
bool is_host() noexcept;  // "device" memory is host memory: LGIN_CUDA=HOST

}  // namespace cuda
}  // namespace lgin
