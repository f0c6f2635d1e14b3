#include "block.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <type_traits>

namespace lgin {
namespace {

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
Rectangle rectangle_of(const std::vector<ViewPlan>& views, int height, int width, const Faces& faces) {
  Hull hull{nothing<int>(), nothing<int>()};
  if (faces.count == 0) hull = Hull{{0, 0}, {0, 0}};
  for (const ViewPlan& plan : views) include_view<Frame>(plan, height, width, &hull);
  for (int n = 0; n < faces.count; ++n) {
    const Rectangle square = square_bounds(faces.affine(n), height, width);
    if (square.width() == 0 || square.height() == 0) continue;
    hull.include_clamped({square.x0, square.x1 - 1}, {square.y0, square.y1 - 1}, height, width);
  }
  // Even, for the 2x2 blocks of NV12: for the packed formats too, because one rule is simpler than two.
  return Rectangle{hull.columns.low / 2 * 2, hull.rows.low / 2 * 2, std::min(hull.columns.high / 2 * 2 + 2, width),
                   std::min(hull.rows.high / 2 * 2 + 2, height)};
}

std::ostream& operator<<(std::ostream& out, const Rectangle& r) {
  return out << "(" << r.x0 << ", " << r.y0 << ", " << r.x1 << ", " << r.y1 << ")";
}

void check_covers(const Rectangle& rectangle, const Rectangle& needed) {
  if (rectangle.x0 <= needed.x0 && rectangle.y0 <= needed.y0 && rectangle.x1 >= needed.x1 &&
      rectangle.y1 >= needed.y1) {
    return;
  }
  std::ostringstream message;
  message << "rectangle: expected one that holds what the faces need, " << needed << " (face_rectangle), got "
          << rectangle;
  throw std::invalid_argument(message.str());
}

// Bytes one after another.
template <class T>
void put(std::uint8_t* target, const T* source, std::size_t count) {
  static_assert(std::is_trivially_copyable_v<T>, "goes to a device by its bytes");
  if (count) std::memcpy(target, source, count * sizeof(T));
}

}  // namespace

template <class Frame>
Rectangle face_rectangle(int height, int width, const Faces& faces, int face_size, int patch_size) {
  return rectangle_of<Frame>(plan_crop(faces, face_size, patch_size), height, width, faces);
}

template <class Frame>
void write_block(std::uint8_t* block, const Frame& frame, const Rectangle& rectangle, int height, int width,
                 const Faces& faces, int face_size, int patch_size, const Tapers& tapers) {
  std::vector<ViewPlan> views = plan_crop(faces, face_size, patch_size);
  check_covers(rectangle, rectangle_of<Frame>(views, height, width, faces));
  for (ViewPlan& plan : views) {
    plan.origin_x -= rectangle.x0;
    plan.origin_y -= rectangle.y0;
  }
  std::vector<PastePlan> pastes;
  pastes.reserve(static_cast<std::size_t>(faces.count));
  for (int n = 0; n < faces.count; ++n) {
    PastePlan plan = plan_paste(faces, n, tapers, height, width);
    plan.origin_x -= rectangle.x0;
    plan.origin_y -= rectangle.y0;
    plan.column_begin -= rectangle.x0;
    plan.column_end -= rectangle.x0;
    plan.row_begin -= rectangle.y0;
    plan.row_end -= rectangle.y0;
    pastes.push_back(plan);
  }
  std::memset(block, 0, Block<Frame>::kViewsOffset);  // also the bytes between the parts
  put(block, &frame, 1);
  put(block + Block<Frame>::kViewsOffset, views.data(), views.size());
  put(block + Block<Frame>::pastes_offset(faces.count), pastes.data(), pastes.size());
}

template Rectangle face_rectangle<PackedFrame>(int, int, const Faces&, int, int);
template Rectangle face_rectangle<Nv12Frame>(int, int, const Faces&, int, int);
template void write_block(std::uint8_t*, const PackedFrame&, const Rectangle&, int, int, const Faces&, int, int,
                          const Tapers&);
template void write_block(std::uint8_t*, const Nv12Frame&, const Rectangle&, int, int, const Faces&, int, int,
                          const Tapers&);

}  // namespace lgin
