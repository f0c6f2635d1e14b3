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
LGIN_HD std::size_t face_elements(const Views<T>& views) {
  return 3 * static_cast<std::size_t>(views.face_size) * static_cast<std::size_t>(views.face_size);
}
template <class T>
LGIN_HD std::size_t patch_elements(const Views<T>& views) {
  return kRegions * 3 * static_cast<std::size_t>(views.patch_size) * static_cast<std::size_t>(views.patch_size);
}

LGIN_HD std::size_t area(int side) { return static_cast<std::size_t>(side) * static_cast<std::size_t>(side); }

// Edits of several faces at several ages, each array C-contiguous: face [count, ages, 6, face_size, face_size] and so
// on, as PlanarEdits has them of one; place, the same at every age, [count, ...]. flow, place and lines may be null.
template <class T>
struct EditViews {
  PlanarEdits<T> first;
  bool edits_first;  // from format 3 on what is edited moves; in format 2 what has moved is edited

  LGIN_HD PlanarEdits<T> of(std::size_t n, std::size_t age = 0, std::size_t ages = 1) const {
    const std::size_t row = n * ages + age;
    PlanarEdits<T> edits = first;
    edits.face += row * 6 * area(first.face_size);
    edits.patches += row * kRegions * 4 * area(first.patch_size);
    if (edits.flow) edits.flow += row * 2 * area(first.coarse_size);
    if (edits.place) edits.place += n * 2 * area(first.coarse_size);
    if (edits.lines) edits.lines += row * area(first.line_size);
    return edits;
  }
};

// What one paste changes: faces `first` to `first + faces - 1` of a block, each at `ages` ages. The frame at an age lies `age_step`
// bytes beyond the one before; at the first it is the block's. Threads are started for `pixels` pixels a face and age, whatever
// the face's size; they take a bigger face in turns.
struct Pasting {
  int first, faces, ages;
  long long pixels;
  std::ptrdiff_t age_step;
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

// The same from format 2 on.
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

// `residuals` [count, ages, ...] are of all the block's faces. Faces of one launch are pasted at once: none of them may write what
// another reads (FacePlan::disjoint).
template <class Frame, class T>
void launch_paste(const Block<Frame>& block, const Pasting& what, const Views<const T>& residuals, int device, void* stream);

// The same from format 2 on, in two launches, and in three from format 3 on. `scratch` takes what the faces move from: a frame an age, laid out as the
// block's and `age_step` bytes apart. `coloured` [count * ages] takes whether a face's square has colour, and is 0 before.
template <class Frame, class T>
void launch_paste(const Block<Frame>& block, const Pasting& what, const EditViews<T>& edits, std::uint8_t* scratch,
                  std::uint8_t* coloured, int device, void* stream);

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
