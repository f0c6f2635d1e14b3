// Stands in for the .cu files in a build without CUDA: the functions are there and say how to get them.
#include "region_ops.h"

namespace lgin::cuda {
namespace {

[[noreturn]] void fail() {
  throw DeviceError(
      "device cuda: this build of lgin-edge has CPU kernels only; install the CUDA toolkit and rebuild with "
      "LGIN_CUDA=ON pip install --force-reinstall --no-deps --no-binary lgin-edge lgin-edge (in a checkout: "
      "LGIN_CUDA=ON pip install .), or use device \"cpu\"");
}

}  // namespace

template <class Frame, class T>
void region_crop(const Frame&, const FacePlan&, const Views<T>&, int) {
  fail();
}

template <class Frame, class T>
void region_paste(const Frame&, const FacePlan&, const Views<const T>&, int) {
  fail();
}

template <class Frame, class T>
void launch_crop(const Block<Frame>&, const Views<T>&, int, void*) {
  fail();
}

template <class Frame, class T>
void launch_paste(const Block<Frame>&, const Pasting&, const Views<const T>&, int, void*) {
  fail();
}

template <class Frame, class T>
void region_paste(const Frame&, const FacePlan&, const EditViews<T>&, int) {
  fail();
}

template <class Frame, class T>
void launch_paste(const Block<Frame>&, const Pasting&, const EditViews<T>&, std::uint8_t*, std::uint8_t*, int, void*) {
  fail();
}

template <class T>
void launch_finite_check(const FiniteChecks<T>&, std::uint32_t*, int, void*) {
  fail();
}

template void launch_finite_check(const FiniteChecks<float>&, std::uint32_t*, int, void*);
template void launch_finite_check(const FiniteChecks<Half>&, std::uint32_t*, int, void*);

template void region_paste(const PackedFrame&, const FacePlan&, const EditViews<float>&, int);
template void region_paste(const PackedFrame&, const FacePlan&, const EditViews<Half>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const EditViews<float>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const EditViews<Half>&, int);
template void launch_paste(const Block<PackedFrame>&, const Pasting&, const EditViews<float>&, std::uint8_t*, std::uint8_t*, int, void*);
template void launch_paste(const Block<PackedFrame>&, const Pasting&, const EditViews<Half>&, std::uint8_t*, std::uint8_t*, int, void*);
template void launch_paste(const Block<Nv12Frame>&, const Pasting&, const EditViews<float>&, std::uint8_t*, std::uint8_t*, int, void*);
template void launch_paste(const Block<Nv12Frame>&, const Pasting&, const EditViews<Half>&, std::uint8_t*, std::uint8_t*, int, void*);

template void region_crop(const PackedFrame&, const FacePlan&, const Views<float>&, int);
template void region_crop(const PackedFrame&, const FacePlan&, const Views<Half>&, int);
template void region_crop(const Nv12Frame&, const FacePlan&, const Views<float>&, int);
template void region_crop(const Nv12Frame&, const FacePlan&, const Views<Half>&, int);
template void region_paste(const PackedFrame&, const FacePlan&, const Views<const float>&, int);
template void region_paste(const PackedFrame&, const FacePlan&, const Views<const Half>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const Views<const float>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const Views<const Half>&, int);

template void launch_crop(const Block<PackedFrame>&, const Views<float>&, int, void*);
template void launch_crop(const Block<PackedFrame>&, const Views<Half>&, int, void*);
template void launch_crop(const Block<Nv12Frame>&, const Views<float>&, int, void*);
template void launch_crop(const Block<Nv12Frame>&, const Views<Half>&, int, void*);
template void launch_paste(const Block<PackedFrame>&, const Pasting&, const Views<const float>&, int, void*);
template void launch_paste(const Block<PackedFrame>&, const Pasting&, const Views<const Half>&, int, void*);
template void launch_paste(const Block<Nv12Frame>&, const Pasting&, const Views<const float>&, int, void*);
template void launch_paste(const Block<Nv12Frame>&, const Pasting&, const Views<const Half>&, int, void*);

int device_count() noexcept { return 0; }

bool built() noexcept { return false; }

bool is_host() noexcept { return false; }

}  // namespace lgin::cuda
