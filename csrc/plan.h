// What is worked out once a face, on the host and in double, before any pixel is touched: checks and plans.
#pragma once

#include <vector>

#include "residual.h"
#include "sampling.h"

namespace lgin {

// Limits that keep every coordinate far from the edge of int and of float's whole numbers.
constexpr int kMaxFrameSide = 1 << 24;
constexpr int kMaxViewSide = 4096;
constexpr double kMinFaceSide = 1.0;
constexpr double kMaxFaceSide = 65536.0;
constexpr double kMaxCoordinate = 1 << 24;
constexpr double kMinBoxSide = 1e-3;
constexpr double kMaxBoxCoordinate = 16.0;
constexpr int kMaxSamples = 64;
constexpr double kMinTaper = 1e-3;

// All functions throw std::invalid_argument, saying what was given and what is expected.

// Where faces are cut or pasted: `count` affines [count, 2, 3] and boxes [count, 5, 4], C-contiguous, checked; and for
// paste, how much of the residual is pasted [count], 0 to 1 (null: all of it).
struct Faces {
  const double* affines;
  const double* boxes;
  int count;
  const double* strengths = nullptr;

  const double* affine(int n) const { return affines + 6 * static_cast<std::ptrdiff_t>(n); }
  const double* box(int n, int r) const { return boxes + 4 * (kRegions * static_cast<std::ptrdiff_t>(n) + r); }
  double strength(int n) const { return strengths ? strengths[n] : 1.0; }
};

void check_faces(const Faces& faces);

// Plan of a `height` x `width` view whose unit square `view` [2, 3] maps to the frame.
ViewPlan plan_view(const double* view, int height, int width);

// Plans of the six views of each face, [count * 6]: the face, then its five patches.
std::vector<ViewPlan> plan_crop(const Faces& faces, int face_size, int patch_size);

// Check one affine [2, 3] that is not a face's (resample); `name` goes into the message.
void check_affine(const double* affine, const char* name);

// The rise of the windows: w_0, and w_r of the regions.
struct Tapers {
  double face, region;
};
void check_tapers(const Tapers& tapers);

// Columns x0 to x1 - 1 and rows y0 to y1 - 1 of a frame.
struct Rectangle {
  int x0, y0, x1, y1;

  LGIN_HD int width() const { return x1 - x0; }
  LGIN_HD int height() const { return y1 - y0; }
};

// Bounding box of a face's square inside the frame; perhaps empty.
Rectangle square_bounds(const double* affine, int frame_height, int frame_width);

// Plan of the paste of face `n`.
PastePlan plan_paste(const Faces& faces, int n, const Tapers& tapers, int frame_height, int frame_width);

}  // namespace lgin
