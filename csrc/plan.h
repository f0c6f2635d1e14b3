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
constexpr double kMinFaceBox = -1.0, kMaxFaceBox = 2.0;
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

// The order of a frame's bytes.
enum class PixelFormat { rgb, bgr, rgba, bgra, nv12 };

// How a model is fed and pasted (geometry.ViewSpec): sides of its views in pixels, the rise of the windows w_0 and w_r as a
// fraction of a side, view 0's box in canonical coordinates, and the model's format, 1 to 4
// (edits.h).
struct ViewSpec {
  int face_size, patch_size;
  double face_taper, region_taper;
  double face_box[4];
  int edit_format = 4;

  bool edits_first() const { return edit_format >= 3; }
  bool lines_keep_colour() const { return edit_format >= 4; }
};

// Columns x0 to x1 - 1 and rows y0 to y1 - 1 of a frame.
struct Rectangle {
  int x0, y0, x1, y1;

  LGIN_HD int width() const { return x1 - x0; }
  LGIN_HD int height() const { return y1 - y0; }
};

// Everything about the faces of one frame that does not depend on its pixels: made once, used by crop and paste, and
// written into a device's block. The frame has `height` x `width` pixels (NV12: of its Y).
class FacePlan {
 public:
  // Checks everything that it is given.
  FacePlan(const Faces& faces, const ViewSpec& spec, int height, int width, PixelFormat format);

  int count() const { return static_cast<int>(pastes_.size()); }
  int height() const { return height_; }
  int width() const { return width_; }
  PixelFormat format() const { return format_; }
  const ViewSpec& spec() const { return spec_; }

  // The six views of each face [count * 6]: the face, then its five patches.
  const std::vector<ViewPlan>& crops() const { return crops_; }
  const std::vector<PastePlan>& pastes() const { return pastes_; }

  // The smallest rectangle with even corners, clipped to the frame, that holds every pixel that the crop of these faces
  // reads and every pixel that their paste reads or writes; never empty.
  const Rectangle& rectangle() const { return rectangle_; }

  // Whether the faces, in any order or all at once, are pasted alike: none writes what another reads, and they are few
  // enough for one launch.
  bool disjoint() const;

 private:
  ViewSpec spec_;
  int height_, width_;
  PixelFormat format_;
  std::vector<ViewPlan> crops_;
  std::vector<PastePlan> pastes_;
  Rectangle rectangle_;
};

// Plan of a `height` x `width` view whose unit square `view` [2, 3] maps to the frame.
ViewPlan plan_view(const double* view, int height, int width);

// Check the format of edits.
void check_edit_format(int edit_format);

// Check an affine [2, 3] that is not a face's (resample); `name` goes into the message.
void check_affine(const double* affine, const char* name);

}  // namespace lgin
