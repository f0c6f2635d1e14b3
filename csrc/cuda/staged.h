// A host frame and its block on a device, for calls with host arrays.
#pragma once

#include <algorithm>

#include "runtime.h"

namespace lgin::cuda {

// Bytes from a C-contiguous host frame's first to its last. A frame of one row may have any stride to the next, which is
// not there.
inline std::size_t byte_count(const PackedFrame& frame) {
  const std::ptrdiff_t last = (frame.height - 1) * frame.y_stride + (frame.width - 1) * frame.x_stride;
  return static_cast<std::size_t>(last + *std::max_element(frame.offset, frame.offset + 3) + 1);
}
inline std::size_t byte_count(const Nv12Frame& frame) {
  const std::ptrdiff_t rows = frame.height / 2 * 3;
  return static_cast<std::size_t>((rows - 1) * frame.y_stride + frame.width);
}
// The same frame with another address.
inline PackedFrame at_address(PackedFrame frame, std::uint8_t* data) {
  frame.data = data;
  return frame;
}
inline Nv12Frame at_address(Nv12Frame frame, std::uint8_t* data) {
  frame.chroma = data + (frame.chroma - frame.data);
  frame.data = data;
  return frame;
}

// On the current device, uploaded on a stream of its own.
template <class Frame>
class Staged {
 public:
  Staged(const Frame& frame, const FacePlan& plan)
      : count_(plan.count()),
        written_(Block<Frame>::size(plan.count())),
        block_(written_.size()),
        pixels_(byte_count(frame)) {
    write_block(written_.data(), at_address(frame, pixels_.data()), Rectangle{0, 0, frame.width, frame.height},
                plan);
    block_.upload(written_.data(), stream_);
    pixels_.upload(frame.data, stream_);
  }

  Block<Frame> block() const { return Block<Frame>{block_.data(), count_}; }
  const Buffer<std::uint8_t>& pixels() const { return pixels_; }
  const Stream& stream() const { return stream_; }

 private:
  int count_;
  std::vector<std::uint8_t> written_;  // lives as long as the upload may take
  Buffer<std::uint8_t> block_, pixels_;
  Stream stream_;
};

}  // namespace lgin::cuda
