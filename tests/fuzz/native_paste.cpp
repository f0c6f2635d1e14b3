// region_paste on the CPU: edits of any bits, of every format; a byte outside every square must stay as it was.
#include "native_input.h"

namespace {

// The bytes that a paste may change: those of the pixels under the bounding boxes of the squares; with strength 0, none.
void allow(const lgin::PackedFrame& f, const lgin::Rectangle& r, std::vector<bool>* may, const std::uint8_t* base) {
  for (int y = r.y0; y < r.y1; ++y) {
    for (int x = r.x0; x < r.x1; ++x) {
      for (const std::ptrdiff_t channel : f.offset) (*may)[static_cast<std::size_t>(f.address(y, x) + channel - base)] = true;
    }
  }
}

void allow(const lgin::Nv12Frame& f, const lgin::Rectangle& r, std::vector<bool>* may, const std::uint8_t* base) {
  for (int y = r.y0; y < r.y1; ++y) {
    for (int x = r.x0; x < r.x1; ++x) {
      (*may)[static_cast<std::size_t>(f.luma_address(y, x) - base)] = true;
      (*may)[static_cast<std::size_t>(f.chroma_address(y / 2, x / 2) - base)] = true;
      (*may)[static_cast<std::size_t>(f.chroma_address(y / 2, x / 2) + f.x_stride - base)] = true;
    }
  }
}

template <class T, class Frame>
void paste(fuzz::Input& in, const Frame& frame, const lgin::FacePlan& plan) {
  const int face_size = plan.spec().face_size, patch_size = plan.spec().patch_size;
  const std::size_t count = static_cast<std::size_t>(plan.count());
  const auto f = static_cast<std::size_t>(face_size), p = static_cast<std::size_t>(patch_size);
  const std::vector<T> face = fuzz::filled<T>(in, count * 3 * f * f), patches = fuzz::filled<T>(in, count * 15 * p * p);
  lgin::cpu::region_paste(frame, plan, lgin::Views<const T>{face.data(), patches.data(), face_size, patch_size}, 1);
}

// Edits from format 2 on, of any bits.
template <class T, class Frame>
void paste_edits(fuzz::Input& in, const Frame& frame, const lgin::FacePlan& plan) {
  const int face_size = plan.spec().face_size, patch_size = plan.spec().patch_size;
  const int coarse = in.whole(1, 6), texture = in.whole(1, 9), has = in.whole(0, 7);
  const auto area = [&](int channels, int side) {
    return static_cast<std::size_t>(plan.count()) * static_cast<std::size_t>(channels * side * side);
  };
  const std::vector<T> face = fuzz::filled<T>(in, area(6, face_size));
  const std::vector<T> patches = fuzz::filled<T>(in, area(4 * lgin::kRegions, patch_size));
  const std::vector<T> flow = fuzz::filled<T>(in, area(2, coarse)), place = fuzz::filled<T>(in, area(2, coarse));
  const std::vector<T> lines = fuzz::filled<T>(in, area(1, texture));
  const bool drawn = (has & 2) != 0, edits_first = in.flag(), keep = edits_first && in.flag();
  lgin::cpu::region_paste(
      frame, plan,
      lgin::EditViews<T>{{face.data(), patches.data(), has & 1 ? flow.data() : nullptr,
                          drawn || has & 4 ? place.data() : nullptr, drawn ? lines.data() : nullptr, face_size, patch_size,
                          coarse, texture, keep},
                         edits_first},
      1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  const int face_size = in.whole(1, 12), patch_size = in.whole(1, 12);
  const bool half = in.flag(), edits = in.flag();
  const fuzz::FrameInput frame = fuzz::frame_of(in, 32, false, true);
  const lgin::ViewSpec spec = fuzz::spec_of(in, face_size, patch_size);
  const fuzz::FacesInput input = fuzz::faces_of(in, 2, 32.0, in.flag() ? 64.0 : 65536.0);
  const lgin::Faces faces = input.faces();
  const auto plan = fuzz::plan_of(faces, spec, frame.height(), frame.width(), frame.nv12);
  if (!plan) return 0;
  const std::vector<std::uint8_t> before = frame.memory;
  std::vector<bool> may(before.size(), false);
  fuzz::with_frame(frame, [&](const auto& f) {
    for (int n = 0; n < faces.count; ++n) {
      if (faces.strength(n) == 0.0) continue;
      const lgin::PastePlan& paste = plan->pastes()[static_cast<std::size_t>(n)];
      const lgin::Rectangle square{paste.column_begin, paste.row_begin, paste.column_end, paste.row_end};
      allow(f, square, &may, frame.memory.data());
    }
    if (edits && half) {
      paste_edits<lgin::Half>(in, f, *plan);
    } else if (edits) {
      paste_edits<float>(in, f, *plan);
    } else if (half) {
      paste<lgin::Half>(in, f, *plan);
    } else {
      paste<float>(in, f, *plan);
    }
  });
  for (std::size_t i = 0; i < before.size(); ++i) PROMISE(may[i] || frame.memory[i] == before[i]);
  return 0;
}
