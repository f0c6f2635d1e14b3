#include "plan.h"

#include "edits.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <type_traits>

namespace lgin {
namespace {

// An affine map [2, 3]: (x, y) -> (xx x + xy y + x0, yx x + yy y + y0).
struct Affine {
  double xx, xy, x0;
  double yx, yy, y0;

  explicit Affine(const double* m) : xx(m[0]), xy(m[1]), x0(m[2]), yx(m[3]), yy(m[4]), y0(m[5]) {}
  Affine(double xx_, double xy_, double x0_, double yx_, double yy_, double y0_)
      : xx(xx_), xy(xy_), x0(x0_), yx(yx_), yy(yy_), y0(y0_) {}

  double x(double u, double v) const { return xx * u + xy * v + x0; }
  double y(double u, double v) const { return yx * u + yy * v + y0; }
};

struct Bounds {
  double x_min, x_max, y_min, y_max;
};

// Bounding box of the image of the unit square.
Bounds bounds_of(const Affine& m) {
  const double left = m.x0 + std::min(0.0, m.xx) + std::min(0.0, m.xy);
  const double right = m.x0 + std::max(0.0, m.xx) + std::max(0.0, m.xy);
  const double top = m.y0 + std::min(0.0, m.yx) + std::min(0.0, m.yy);
  const double bottom = m.y0 + std::max(0.0, m.yx) + std::max(0.0, m.yy);
  return Bounds{left, right, top, bottom};
}

double length(double x, double y) { return std::sqrt(x * x + y * y); }

// geometry.view_affine: the unit square of a box to frame pixels.
Affine view_affine(const Affine& face, const double* box) {
  const double w = box[2] - box[0];
  const double h = box[3] - box[1];
  return Affine(face.xx * w, face.xy * h, face.x(box[0], box[1]), face.yx * w, face.yy * h, face.y(box[0], box[1]));
}

[[noreturn]] void fail(const std::ostringstream& message) { throw std::invalid_argument(message.str()); }

void check_reach(const Affine& m, const std::string& name) {
  const Bounds bounds = bounds_of(m);
  const double reach = std::max({-bounds.x_min, bounds.x_max, -bounds.y_min, bounds.y_max});
  if (!(reach <= kMaxCoordinate)) {
    std::ostringstream message;
    message << name << ": the view reaches " << reach << " px from the frame's origin; expected at most "
            << kMaxCoordinate << ": check the landmarks that it was fitted to";
    fail(message);
  }
}

void check_one_affine(const double* affine, const std::string& name) {
  std::ostringstream message;
  for (int i = 0; i < 6; ++i) {
    if (!std::isfinite(affine[i])) {
      message << name << ": expected finite numbers, got " << affine[i] << " at [" << i / 3 << ", " << i % 3 << "]";
      fail(message);
    }
  }
  const Affine m(affine);
  const double a = length(m.xx, m.yx);
  const double b = length(m.xy, m.yy);
  // A side at a limit may be off by rounding.
  if (!(std::min(a, b) >= kMinFaceSide * (1 - 1e-9) && std::max(a, b) <= kMaxFaceSide * (1 + 1e-9))) {
    message << name << ": the unit square maps to sides of " << a << " and " << b << " px; expected " << kMinFaceSide
            << " to " << kMaxFaceSide << " px";
    fail(message);
  }
  if (!(m.xx * m.yy - m.xy * m.yx > 1e-3 * a * b)) {
    message << name << ": singular or mirrored (determinant " << m.xx * m.yy - m.xy * m.yx
            << "); expected a map that keeps the orientation, as geometry.fit_similarity gives";
    fail(message);
  }
  check_reach(m, name);
}

// Samples along a step of `step` frame pixels: one a pixel. A step that is 1 but for rounding takes one.
int sample_count(double step) {
  return static_cast<int>(std::min<double>(kMaxSamples, std::max(1.0, std::ceil(step - 1e-3))));
}

void check_box(const double* box, const std::string& name) {
  std::ostringstream message;
  for (int i = 0; i < 4; ++i) {
    if (!(std::fabs(box[i]) <= kMaxBoxCoordinate)) {
      message << name << ": expected canonical coordinates within +-" << kMaxBoxCoordinate << ", got " << box[i];
      fail(message);
    }
  }
  if (!(box[2] - box[0] >= kMinBoxSide && box[3] - box[1] >= kMinBoxSide)) {
    message << name << ": expected (x0, y0, x1, y1) with x1 - x0 and y1 - y0 of at least " << kMinBoxSide
            << ", got (" << box[0] << ", " << box[1] << ", " << box[2] << ", " << box[3] << ")";
    fail(message);
  }
}

void check_face_box(const double* box) {
  check_box(box, "face_box");
  if (*std::min_element(box, box + 4) >= kMinFaceBox && *std::max_element(box, box + 4) <= kMaxFaceBox) return;
  std::ostringstream message;
  message << "face_box: expected canonical coordinates from " << kMinFaceBox << " to " << kMaxFaceBox << ", got ("
          << box[0] << ", " << box[1] << ", " << box[2] << ", " << box[3] << ")";
  fail(message);
}

void check_faces(const Faces& faces, const ViewSpec& spec) {
  for (int n = 0; n < faces.count; ++n) {
    const double* affine = faces.affine(n);
    check_one_affine(affine, "affines[" + std::to_string(n) + "]");
    if (!(faces.strength(n) >= 0.0 && faces.strength(n) <= 1.0)) {
      std::ostringstream message;
      message << "strengths[" << n << "]: expected 0 to 1, got " << faces.strength(n);
      fail(message);
    }
    check_reach(view_affine(Affine(affine), spec.face_box), "face_box of affines[" + std::to_string(n) + "]");
    for (int r = 0; r < kRegions; ++r) {
      const double* box = faces.box(n, r);
      const std::string name = "boxes[" + std::to_string(n) + ", " + std::to_string(r) + "]";
      check_box(box, name);
      check_reach(view_affine(Affine(affine), box), name);
    }
  }
}

void check_side(int side, const char* name) {
  if (side >= 1 && side <= kMaxViewSide) return;
  std::ostringstream message;
  message << name << ": expected a whole number of pixels from 1 to " << kMaxViewSide << ", got " << side;
  fail(message);
}

void check_taper(double taper, const char* name) {
  if (taper >= kMinTaper && taper <= 0.5) return;
  std::ostringstream message;
  message << name << ": expected a fraction of a side, " << kMinTaper << " to 0.5, got " << taper;
  fail(message);
}

void check_size(int height, int width, PixelFormat format) {
  const bool odd = format == PixelFormat::nv12 && (height % 2 || width % 2);
  if (height >= 1 && height <= kMaxFrameSide && width >= 1 && width <= kMaxFrameSide && !odd) return;
  std::ostringstream message;
  message << "height, width: expected 1 to " << kMaxFrameSide << " pixels, in NV12 even, got " << height << " and "
          << width;
  fail(message);
}

// Frame position (index coordinates relative to the origin) to the local unit square of `view`.
ViewMap map_to(const Affine& view, int origin_x, int origin_y, double taper) {
  const double determinant = view.xx * view.yy - view.xy * view.yx;
  const double xx = view.yy / determinant, xy = -view.xy / determinant;
  const double yx = -view.yx / determinant, yy = view.xx / determinant;
  const double px = origin_x + 0.5 - view.x0, py = origin_y + 0.5 - view.y0;
  ViewMap map{};
  map.x0 = static_cast<float>(xx * px + xy * py);
  map.x_dx = static_cast<float>(xx);
  map.x_dy = static_cast<float>(xy);
  map.y0 = static_cast<float>(yx * px + yy * py);
  map.y_dx = static_cast<float>(yx);
  map.y_dy = static_cast<float>(yy);
  map.inverse_taper = static_cast<float>(1.0 / taper);
  return map;
}

int clipped(double position, int size) {
  return static_cast<int>(std::min<double>(std::max(position, 0.0), size));
}

// Bounding box of a face's square inside the frame; perhaps empty.
Rectangle clipped_bounds(const Bounds& bounds, int height, int width) {
  return Rectangle{clipped(std::floor(bounds.x_min), width), clipped(std::floor(bounds.y_min), height),
                   clipped(std::ceil(bounds.x_max), width), clipped(std::ceil(bounds.y_max), height)};
}

PastePlan plan_paste(const Faces& faces, int n, const ViewSpec& spec, int height, int width) {
  const Affine face(faces.affine(n));
  const Affine square = view_affine(face, spec.face_box);
  const Bounds bounds = bounds_of(square);
  const Rectangle inside = clipped_bounds(bounds, height, width);
  PastePlan plan{};
  plan.origin_x = static_cast<int>(std::floor((bounds.x_min + bounds.x_max) * 0.5));
  plan.origin_y = static_cast<int>(std::floor((bounds.y_min + bounds.y_max) * 0.5));
  plan.column_begin = inside.x0;
  plan.column_end = inside.x1;
  plan.row_begin = inside.y0;
  plan.row_end = inside.y1;
  plan.scale = static_cast<float>(127.5 * faces.strength(n));
  plan.strength = static_cast<float>(faces.strength(n));
  plan.xx = static_cast<float>(face.xx);
  plan.xy = static_cast<float>(face.xy);
  plan.yx = static_cast<float>(face.yx);
  plan.yy = static_cast<float>(face.yy);
  plan.box_width = static_cast<float>(spec.face_box[2] - spec.face_box[0]);
  plan.box_height = static_cast<float>(spec.face_box[3] - spec.face_box[1]);
  plan.views[0] = map_to(square, plan.origin_x, plan.origin_y, spec.face_taper);
  for (int r = 0; r < kRegions; ++r) {
    plan.views[1 + r] = map_to(view_affine(face, faces.box(n, r)), plan.origin_x, plan.origin_y, spec.region_taper);
  }
  return plan;
}

ViewPlan plan_box(const Affine& face, const double* box, int size) {
  const Affine view = view_affine(face, box);
  const double m[6] = {view.xx, view.xy, view.x0, view.yx, view.yy, view.y0};
  return plan_view(m, size, size);
}

// Positions along one axis, and pixels; both ends belong to it.
template <class T>
struct Range {
  T low, high;
};

template <class T>
void include(Range<T>* range, T value) {
  range->low = std::min(range->low, value);
  range->high = std::max(range->high, value);
}

template <class T>
Range<T> nothing() {
  return Range<T>{std::numeric_limits<T>::max(), std::numeric_limits<T>::lowest()};
}

// The pixels that samples read between two positions, neither clamped to the frame.
template <class Frame>
Range<int> pixels_read(const Range<float>& x, int origin) {
  Range<int> pixels{tap<false>(x.low, origin, 0).low, tap<false>(x.high, origin, 0).high};
  if constexpr (std::is_same_v<Frame, Nv12Frame>) {
    include(&pixels, 2 * tap<false>(chroma_coordinate(x.low), origin / 2, 0).low);
    include(&pixels, 2 * tap<false>(chroma_coordinate(x.high), origin / 2, 0).high + 1);
  }
  return pixels;
}

// The columns and rows of a frame that something touches.
struct Hull {
  Range<int> columns, rows;

  void include_clamped(const Range<int>& x, const Range<int>& y, int height, int width) {
    for (const int column : {x.low, x.high}) include(&columns, clamp_int(column, 0, width - 1));
    for (const int row : {y.low, y.high}) include(&rows, clamp_int(row, 0, height - 1));
  }
};

// What a view reads. Every operation of view_position and footprint_offset is monotone in each index, its rounding
// included, so that the view's outermost samples are those of its corners: the very floats that the kernels will have.
template <class Frame>
void include_view(const ViewPlan& plan, int height, int width, Hull* hull) {
  Range<float> x = nothing<float>(), y = x, dx = x, dy = x;
  for (const int down : {0, 1}) {
    for (const int right : {0, 1}) {
      const Position center = view_position(plan, down * (plan.height - 1), right * (plan.width - 1));
      const Offset offset = footprint_offset(plan, down * (plan.nb - 1), right * (plan.na - 1));
      include(&x, center.x);
      include(&y, center.y);
      include(&dx, offset.x);
      include(&dy, offset.y);
    }
  }
  hull->include_clamped(pixels_read<Frame>(Range<float>{x.low + dx.low, x.high + dx.high}, plan.origin_x),
                        pixels_read<Frame>(Range<float>{y.low + dy.low, y.high + dy.high}, plan.origin_y), height,
                        width);
}

template <class Frame>
Rectangle rectangle_of(const std::vector<ViewPlan>& crops, const std::vector<PastePlan>& pastes, int height, int width) {
  Hull hull{nothing<int>(), nothing<int>()};
  if (pastes.empty()) hull = Hull{{0, 0}, {0, 0}};
  for (const ViewPlan& plan : crops) include_view<Frame>(plan, height, width, &hull);
  for (const PastePlan& plan : pastes) {
    if (plan.column_begin >= plan.column_end || plan.row_begin >= plan.row_end) continue;
    // What moves is read from anywhere in the square, with the pixels around it.
    hull.include_clamped({plan.column_begin - kMoveReach, plan.column_end - 1 + kMoveReach},
                         {plan.row_begin - kMoveReach, plan.row_end - 1 + kMoveReach}, height, width);
  }
  // Even, for the 2x2 blocks of NV12: for the packed formats too, because one rule is simpler than two.
  return Rectangle{hull.columns.low / 2 * 2, hull.rows.low / 2 * 2, std::min(hull.columns.high / 2 * 2 + 2, width),
                   std::min(hull.rows.high / 2 * 2 + 2, height)};
}

}  // namespace

void check_affine(const double* affine, const char* name) { check_one_affine(affine, name); }

void check_edit_format(int edit_format) {
  if (edit_format >= 1 && edit_format <= 4) return;
  std::ostringstream message;
  message << "edit_format: expected 1 to 4, got " << edit_format;
  fail(message);
}

ViewPlan plan_view(const double* view, int height, int width) {
  const Affine m(view);
  const Bounds bounds = bounds_of(m);
  ViewPlan plan;
  plan.width = width;
  plan.height = height;
  // Even, so that half of it is the origin of NV12's chroma; two pixels before the view, so that nothing is negative.
  plan.origin_x = 2 * static_cast<int>(std::floor(bounds.x_min * 0.5)) - 2;
  plan.origin_y = 2 * static_cast<int>(std::floor(bounds.y_min * 0.5)) - 2;
  const double ax = m.xx / width, ay = m.yx / width;
  const double bx = m.xy / height, by = m.yy / height;
  plan.x0 = static_cast<float>(m.x(0.5 / width, 0.5 / height) - 0.5 - plan.origin_x);
  plan.y0 = static_cast<float>(m.y(0.5 / width, 0.5 / height) - 0.5 - plan.origin_y);
  plan.ax = static_cast<float>(ax);
  plan.ay = static_cast<float>(ay);
  plan.bx = static_cast<float>(bx);
  plan.by = static_cast<float>(by);
  plan.na = sample_count(length(ax, ay));
  plan.nb = sample_count(length(bx, by));
  return plan;
}

FacePlan::FacePlan(const Faces& faces, const ViewSpec& spec, int height, int width, PixelFormat format)
    : spec_(spec), height_(height), width_(width), format_(format) {
  check_side(spec.face_size, "face_size");
  check_side(spec.patch_size, "patch_size");
  check_taper(spec.face_taper, "face_taper");
  check_taper(spec.region_taper, "region_taper");
  check_edit_format(spec.edit_format);
  check_face_box(spec.face_box);
  check_size(height, width, format);
  check_faces(faces, spec);
  crops_.reserve(static_cast<std::size_t>(faces.count) * kViews);
  pastes_.reserve(static_cast<std::size_t>(faces.count));
  for (int n = 0; n < faces.count; ++n) {
    const Affine face(faces.affine(n));
    crops_.push_back(plan_box(face, spec.face_box, spec.face_size));
    for (int r = 0; r < kRegions; ++r) crops_.push_back(plan_box(face, faces.box(n, r), spec.patch_size));
    pastes_.push_back(plan_paste(faces, n, spec, height, width));
  }
  rectangle_ = format == PixelFormat::nv12 ? rectangle_of<Nv12Frame>(crops_, pastes_, height, width)
                                           : rectangle_of<PackedFrame>(crops_, pastes_, height, width);
}

bool FacePlan::disjoint() const {
  constexpr std::size_t most = 256;
  if (pastes_.size() > most) return false;
  // In NV12 cells of 2x2 pixels are written, and a face reads as many cells around its own.
  const int reach = format_ == PixelFormat::nv12 ? 2 * kMoveReach + 2 : kMoveReach;
  const auto apart = [&](int a_begin, int a_end, int b_begin, int b_end) {
    return a_begin >= a_end || b_begin >= b_end || a_end + reach <= b_begin || b_end + reach <= a_begin;
  };
  for (std::size_t n = 0; n < pastes_.size(); ++n) {
    for (std::size_t m = 0; m < n; ++m) {
      const PastePlan &a = pastes_[n], &b = pastes_[m];
      if (!apart(a.column_begin, a.column_end, b.column_begin, b.column_end) &&
          !apart(a.row_begin, a.row_end, b.row_begin, b.row_end)) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace lgin
