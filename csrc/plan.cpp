#include "plan.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

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

}  // namespace

void check_affine(const double* affine, const char* name) { check_one_affine(affine, name); }

void check_faces(const Faces& faces) {
  for (int n = 0; n < faces.count; ++n) {
    const double* affine = faces.affine(n);
    check_one_affine(affine, "affines[" + std::to_string(n) + "]");
    if (!(faces.strength(n) >= 0.0 && faces.strength(n) <= 1.0)) {
      std::ostringstream message;
      message << "strengths[" << n << "]: expected 0 to 1, got " << faces.strength(n);
      fail(message);
    }
    for (int r = 0; r < kRegions; ++r) {
      const double* box = faces.box(n, r);
      const std::string name = "boxes[" + std::to_string(n) + ", " + std::to_string(r) + "]";
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
      check_reach(view_affine(Affine(affine), box), name);
    }
  }
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

std::vector<ViewPlan> plan_crop(const Faces& faces, int face_size, int patch_size) {
  std::vector<ViewPlan> plans;
  plans.reserve(static_cast<std::size_t>(faces.count) * kViews);
  for (int n = 0; n < faces.count; ++n) {
    plans.push_back(plan_view(faces.affine(n), face_size, face_size));
    for (int r = 0; r < kRegions; ++r) {
      const Affine view = view_affine(Affine(faces.affine(n)), faces.box(n, r));
      const double m[6] = {view.xx, view.xy, view.x0, view.yx, view.yy, view.y0};
      plans.push_back(plan_view(m, patch_size, patch_size));
    }
  }
  return plans;
}

namespace {

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

void check_taper(double taper, const char* name) {
  if (!(taper >= kMinTaper && taper <= 0.5)) {
    std::ostringstream message;
    message << name << ": expected the share of a side, " << kMinTaper << " to 0.5, got " << taper;
    fail(message);
  }
}

}  // namespace

void check_tapers(const Tapers& tapers) {
  check_taper(tapers.face, "face_taper");
  check_taper(tapers.region, "region_taper");
}

Rectangle square_bounds(const double* affine, int frame_height, int frame_width) {
  const Bounds bounds = bounds_of(Affine(affine));
  return Rectangle{clipped(std::floor(bounds.x_min), frame_width), clipped(std::floor(bounds.y_min), frame_height),
                   clipped(std::ceil(bounds.x_max), frame_width), clipped(std::ceil(bounds.y_max), frame_height)};
}

PastePlan plan_paste(const Faces& faces, int n, const Tapers& tapers, int frame_height, int frame_width) {
  const Affine face(faces.affine(n));
  const Bounds bounds = bounds_of(face);
  const Rectangle inside = square_bounds(faces.affine(n), frame_height, frame_width);
  PastePlan plan{};
  plan.origin_x = static_cast<int>(std::floor((bounds.x_min + bounds.x_max) * 0.5));
  plan.origin_y = static_cast<int>(std::floor((bounds.y_min + bounds.y_max) * 0.5));
  plan.column_begin = inside.x0;
  plan.column_end = inside.x1;
  plan.row_begin = inside.y0;
  plan.row_end = inside.y1;
  plan.scale = static_cast<float>(127.5 * faces.strength(n));
  plan.views[0] = map_to(face, plan.origin_x, plan.origin_y, tapers.face);
  for (int r = 0; r < kRegions; ++r) {
    plan.views[1 + r] = map_to(view_affine(face, faces.box(n, r)), plan.origin_x, plan.origin_y, tapers.region);
  }
  return plan;
}

}  // namespace lgin
