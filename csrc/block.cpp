#include "block.h"

#include <cstring>
#include <sstream>
#include <stdexcept>
#include <type_traits>

namespace lgin {
namespace {

std::ostream& operator<<(std::ostream& out, const Rectangle& r) {
  return out << "(" << r.x0 << ", " << r.y0 << ", " << r.x1 << ", " << r.y1 << ")";
}

void check_covers(const Rectangle& rectangle, const Rectangle& needed) {
  if (rectangle.x0 <= needed.x0 && rectangle.y0 <= needed.y0 && rectangle.x1 >= needed.x1 &&
      rectangle.y1 >= needed.y1) {
    return;
  }
  std::ostringstream message;
  message << "rectangle: expected one that holds what the faces need, " << needed << " (FacePlan.rectangle), got "
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
void write_block(std::uint8_t* block, const Frame& frame, const Rectangle& rectangle, const FacePlan& plan) {
  check_covers(rectangle, plan.rectangle());
  std::vector<ViewPlan> crops = plan.crops();
  for (ViewPlan& crop : crops) {
    crop.origin_x -= rectangle.x0;
    crop.origin_y -= rectangle.y0;
  }
  std::vector<PastePlan> pastes = plan.pastes();
  for (PastePlan& paste : pastes) {
    paste.origin_x -= rectangle.x0;
    paste.origin_y -= rectangle.y0;
    paste.column_begin -= rectangle.x0;
    paste.column_end -= rectangle.x0;
    paste.row_begin -= rectangle.y0;
    paste.row_end -= rectangle.y0;
  }
  std::memset(block, 0, Block<Frame>::kViewsOffset);  // also the bytes between the parts
  put(block, &frame, 1);
  put(block + Block<Frame>::kViewsOffset, crops.data(), crops.size());
  put(block + Block<Frame>::pastes_offset(plan.count()), pastes.data(), pastes.size());
}

template void write_block(std::uint8_t*, const PackedFrame&, const Rectangle&, const FacePlan&);
template void write_block(std::uint8_t*, const Nv12Frame&, const Rectangle&, const FacePlan&);

}  // namespace lgin
