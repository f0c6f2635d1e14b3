// The block: all that a launch reads of a frame and its faces, in one piece of device memory. It is written on the host.
// A captured launch knows only its address, so that another block in the same place gives it another frame.
//
//   Frame | ViewPlan[count * kViews] | PastePlan[count]
#pragma once

#include <cstddef>
#include <cstdint>

#include "plan.h"

namespace lgin {

// Where the parts lie. `data` is an address of host or device, a multiple of kBlockAlignment.
constexpr std::size_t kBlockAlignment = 16;

template <class Frame>
struct Block {
  std::uint8_t* data;
  int count;

  static constexpr std::size_t kViewsOffset = (sizeof(Frame) + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment;
  static constexpr std::size_t pastes_offset(int count) {
    return kViewsOffset + static_cast<std::size_t>(count) * kViews * sizeof(ViewPlan);
  }
  static constexpr std::size_t size(int count) {
    return pastes_offset(count) + static_cast<std::size_t>(count) * sizeof(PastePlan);
  }

  const Frame* frame() const { return reinterpret_cast<const Frame*>(data); }
  const ViewPlan* views() const { return reinterpret_cast<const ViewPlan*>(data + kViewsOffset); }
  const PastePlan* pastes() const { return reinterpret_cast<const PastePlan*>(data + pastes_offset(count)); }
};

static_assert(sizeof(ViewPlan) % kBlockAlignment == 0 && sizeof(PastePlan) % kBlockAlignment == 0,
              "every part of a block is aligned");

// Write Block<Frame>::size(plan.count()) bytes, at any alignment. `frame` is what is in memory of the plan's frame: its
// `rectangle`. Everything is planned for the whole frame and then moved by whole pixels, so that the results are the whole
// frame's, bit for bit. Throws std::invalid_argument, with nothing written, if the faces need more than the rectangle: a
// launch checks nothing.
template <class Frame>
void write_block(std::uint8_t* block, const Frame& frame, const Rectangle& rectangle, const FacePlan& plan);

}  // namespace lgin
