// The edits of packed frames, row by row.
#pragma once

#include <algorithm>

#include "edit_lines.h"

namespace lgin::cpu {
namespace {

template <class T>
void paste_unit(const Job<PackedFrame, T>& job, int row, const Sums& sums) {
#if defined(LGIN_AVX2)
  if (has_avx2()) return avx2::paste_row(job, row, sums);
#endif
  plain::paste_row(job, row, sums);
}

template <class T>
void move_unit(const Job<PackedFrame, T>& job, int row) {
#if defined(LGIN_AVX2)
  if (has_avx2()) return avx2::move_row(job, row);
#endif
  plain::move_row(job, row);
}

// Whether a pixel inside the square has colour.
bool has_colour(const PackedFrame& frame, const PastePlan& plan) {
  for (int row = plan.row_begin; row < plan.row_end; ++row) {
    const Span span = inside_span(plan.views[0], pixel_line(plan, row), Span{0, plan.column_end - plan.column_begin});
    for (int k = span.begin; k < span.end; ++k) {
      const std::uint8_t* const p = frame.address(row, plan.column_begin + k);
      if (p[frame.offset[0]] != p[frame.offset[1]] || p[frame.offset[0]] != p[frame.offset[2]]) return true;
    }
  }
  return false;
}

Rectangle snapshot_of(const PastePlan& plan) {
  const int reach = 2 * kMoveReach;
  return Rectangle{plan.column_begin - reach, plan.row_begin - reach, plan.column_end + reach, plan.row_end + reach};
}

std::size_t area_of(const Rectangle& part) {
  return static_cast<std::size_t>(part.width()) * static_cast<std::size_t>(part.height());
}

// What a face reads of a frame before anything is written.
struct PackedSource {
  Snapshot snapshot;

  void reserve(const FacePlan& plan, const PackedFrame&) {
    std::size_t most = 0;
    for (const PastePlan& paste : plan.pastes()) most = std::max(most, area_of(snapshot_of(paste)));
    snapshot.reserve(most);
  }
  // Only what moves is read from it.
  void take(const PackedFrame& frame, const PastePlan& plan, const EditTexels& texels, int threads) {
    if (!texels.moves()) return;
    const bool bgr = texels.order() == Order::bgr;
    const std::ptrdiff_t first = frame.offset[bgr ? 2 : 0], second = frame.offset[1], third = frame.offset[bgr ? 0 : 2];
    snapshot.take(snapshot_of(plan), frame.height, frame.width, threads, [&](int y, int x) {
      const std::uint8_t* const p = frame.address(y, x);
      return Texel{{float(p[first]), float(p[second]), float(p[third]), 0.0f}};
    });
  }
  // When all is in it that is read.
  void finish() { snapshot.replicate(); }
  const Snapshot& get() const { return snapshot; }
};

PackedSource source_for(const PackedFrame&) { return PackedSource{}; }

}  // namespace
}  // namespace lgin::cpu
