// A host frame and its block on a device, for calls with host arrays.
#pragma once

#include "runtime.h"

namespace lgin::cuda {

// A C-contiguous host frame's bytes, and the same frame with another address.
inline std::size_t byte_count(const PackedFrame& frame) {
  return static_cast<std::size_t>(frame.y_stride) * static_cast<std::size_t>(frame.height);
}
inline std::size_t byte_count(const Nv12Frame& frame) {
  return static_cast<std::size_t>(frame.y_stride) * static_cast<std::size_t>(frame.height / 2 * 3);
}
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
  Staged(const Frame& frame, const Faces& faces, int face_size, int patch_size, const Tapers& tapers)
      : count_(faces.count),
        written_(Block<Frame>::size(faces.count)),
        block_(written_.size()),
        pixels_(byte_count(frame)) {
    write_block(written_.data(), at_address(frame, pixels_.data()), Rectangle{0, 0, frame.width, frame.height},
                frame.height, frame.width, faces, face_size, patch_size, tapers);
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
