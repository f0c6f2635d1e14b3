// Plans and blocks of frames of any size: what is accepted must keep every promise that the kernels build on.
#include "native_input.h"

namespace {

constexpr int kSides[] = {1, 2, 3, 17, 720, 1920, 4096, 1 << 16, lgin::kMaxFrameSide - 2, lgin::kMaxFrameSide};

int frame_side(fuzz::Input& in) {
  const int kind = in.whole(0, 15);
  return kind < 10 ? kSides[kind] : in.whole(1, lgin::kMaxFrameSide);
}

// The samples of a view lie where truncation is the floor, and float still tells whole pixels apart.
void check_plan(const lgin::ViewPlan& plan) {
  PROMISE(plan.origin_x % 2 == 0 && plan.origin_y % 2 == 0);
  PROMISE(plan.na >= 1 && plan.na <= lgin::kMaxSamples && plan.nb >= 1 && plan.nb <= lgin::kMaxSamples);
  for (const int i : {0, plan.height - 1}) {
    for (const int j : {0, plan.width - 1}) {
      const lgin::Position at = lgin::view_position(plan, i, j);
      for (const int m : {0, plan.nb - 1}) {
        for (const int k : {0, plan.na - 1}) {
          const lgin::Offset d = lgin::footprint_offset(plan, m, k);
          PROMISE(at.x + d.x >= 0.5f && at.y + d.y >= 0.5f);
          PROMISE(at.x + d.x <= 1e8f && at.y + d.y <= 1e8f);
        }
      }
    }
  }
}

template <class Frame>
void check_block(const lgin::FacePlan& plan, bool too_small, bool narrower) {
  const int height = plan.height(), width = plan.width();
  const lgin::Rectangle r = plan.rectangle();
  PROMISE(r.x0 >= 0 && r.y0 >= 0 && r.x0 < r.x1 && r.y0 < r.y1 && r.x1 <= width && r.y1 <= height);
  PROMISE(r.x0 % 2 == 0 && r.y0 % 2 == 0 && (r.x1 % 2 == 0 || r.x1 == width) && (r.y1 % 2 == 0 || r.y1 == height));
  const Frame frame{};
  std::vector<std::uint8_t> block(lgin::Block<Frame>::size(plan.count()));
  lgin::write_block(block.data(), frame, r, plan);
  if (!too_small) return;
  lgin::Rectangle less = r;
  (narrower ? less.x0 : less.y0) += 2;
  if (less.width() < 1 || less.height() < 1) return;
  const std::vector<std::uint8_t> before = block;
  bool thrown = false;
  try {
    lgin::write_block(block.data(), frame, less, plan);
  } catch (const std::invalid_argument&) {
    thrown = true;
  }
  PROMISE(thrown && block == before);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  int height = frame_side(in), width = frame_side(in);
  const int face_size = in.whole(1, lgin::kMaxViewSide), patch_size = in.whole(1, lgin::kMaxViewSide);
  const lgin::ViewSpec spec = fuzz::spec_of(in, face_size, patch_size);
  const fuzz::FacesInput input = fuzz::faces_of(in, 3, std::min(1.7e7, 2.0 * std::max(height, width)), 65536.0);
  const int rest = in.whole(0, 15);
  const bool nv12 = !(rest & 1);
  if (nv12) {
    height += height % 2;
    width += width % 2;
  }
  const auto plan = fuzz::plan_of(input.faces(), spec, height, width, nv12);
  if (!plan) return 0;
  for (const lgin::ViewPlan& view : plan->crops()) check_plan(view);
  for (const lgin::PastePlan& paste : plan->pastes()) {
    PROMISE(paste.column_begin >= 0 && paste.column_end <= width && paste.row_begin >= 0 && paste.row_end <= height);
  }
  if (nv12) {
    check_block<lgin::Nv12Frame>(*plan, rest < 4, rest & 2);
  } else {
    check_block<lgin::PackedFrame>(*plan, rest < 4, rest & 2);
  }
  return 0;
}
