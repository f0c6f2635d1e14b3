// region_crop and resample on the CPU: frames of any strides, also ones whose pixels overlap.
#include "native_input.h"

namespace {

template <class T>
void check_views(const std::vector<T>& values) {
  for (const T value : values) {
    const float x = lgin::to_float(value);
    PROMISE(x >= -1.001f && x <= 1.001f);  // every element is written, and none is NaN
  }
}

template <class T, class Frame>
void crop(const Frame& frame, const lgin::Faces& faces, const lgin::FacePlan& plan) {
  const int face_size = plan.spec().face_size, patch_size = plan.spec().patch_size;
  const std::size_t count = static_cast<std::size_t>(plan.count());
  const auto f = static_cast<std::size_t>(face_size), p = static_cast<std::size_t>(patch_size);
  T unwritten{};
  lgin::store(&unwritten, std::nanf(""));
  std::vector<T> face(count * 3 * f * f, unwritten), patches(count * 15 * p * p, unwritten);
  lgin::cpu::region_crop(frame, plan, lgin::Views<T>{face.data(), patches.data(), face_size, patch_size}, 1);
  check_views(face);
  check_views(patches);
  if (faces.count == 0) return;
  std::vector<T> view(3 * p * f, unwritten);
  lgin::cpu::resample(frame, faces.affine(0), view.data(), patch_size, face_size, 1);
  check_views(view);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  const int face_size = in.whole(1, 12), patch_size = in.whole(1, 12);
  const bool half = in.flag();
  const fuzz::FrameInput frame = fuzz::frame_of(in, 32, false, in.flag());
  const fuzz::FacesInput input = fuzz::faces_of(in, 2, 32.0, in.flag() ? 64.0 : 65536.0);
  const lgin::Faces faces = input.faces();
  const lgin::ViewSpec spec = fuzz::spec_of(in, face_size, patch_size);
  const auto plan = fuzz::plan_of(faces, spec, frame.height(), frame.width(), frame.nv12);
  if (!plan || fuzz::too_long(*plan)) return 0;
  fuzz::with_frame(frame, [&](const auto& f) {
    if (half) {
      crop<lgin::Half>(f, faces, *plan);
    } else {
      crop<float>(f, faces, *plan);
    }
  });
  return 0;
}
