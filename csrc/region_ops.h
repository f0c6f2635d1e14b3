// The operations behind the binding: plain pointers in, nothing of Python. One declaration, an implementation a device.
#pragma once

#include <string>

#include "plan.h"

namespace lgin {

// Where faces are cut or pasted: `count` affines [count, 2, 3] and boxes [count, 5, 4], C-contiguous, checked.
struct Faces {
  const double* affines;
  const double* boxes;
  int count;
};

// Planar views: `face` [count, 3, face_size, face_size] and `patches` [count, 5, 3, patch_size, patch_size],
// C-contiguous. Crop writes pictures to them (T is float or Half), paste reads residuals (T is const).
template <class T>
struct Views {
  T* face;
  T* patches;
  int face_size;
  int patch_size;
};

namespace cpu {

template <class Frame, class T>
void region_crop(const Frame& frame, const Faces& faces, const Views<T>& views, int threads);

template <class Frame, class T>
void resample(const Frame& frame, const double* affine, T* view, int height, int width, int threads);

// `frame` is read and written in place.
template <class Frame, class T>
void region_paste(const Frame& frame, const Faces& faces, const Views<const T>& residuals, double face_taper,
                  double region_taper, int threads);

}  // namespace cpu
}  // namespace lgin
