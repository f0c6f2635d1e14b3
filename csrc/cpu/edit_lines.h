// What a line of pixels is worked out from, and its arithmetic (edit_lines.inl).
#pragma once

#include <algorithm>

#include "edit_texels.h"
#include "packed_pixels.h"

namespace lgin::cpu {
namespace {

// What one worker keeps of a line: the sums over the views, and of the face view w_0, w_0 s and w_0 m.
struct Sums {
  Color4* detail;
  float *weight, *grey, *skin;
};

// The edits of up to kBatch pixels of a line, but for their residuals.
struct EditBatch {
  float light[kBatch], grey[kBatch];
  float move_x[kBatch], move_y[kBatch];
  bool moves;
};

// One face at one age, for all its lines.
template <class Frame, class T>
struct Job;

template <class T>
struct Job<PackedFrame, T> {
  const PackedFrame& frame;
  const PastePlan& plan;
  const EditTexels& texels;
  const PlanarEdits<T>& edits;
  const Snapshot& copy;
  bool coloured, edits_first;
};

// Whether it is edited first, and moves then.
template <class Frame, class T>
bool moves_after(const Job<Frame, T>& job) {
  return job.edits_first && job.texels.moves();
}

// The lines' arithmetic, compiled for every processor and, where there is one, for AVX2 too; the bytes are the same.
namespace plain {
#include "edit_lines.inl"
}
#if defined(LGIN_AVX2)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
namespace avx2 {
#include "edit_lines.inl"
}
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

}  // namespace
}  // namespace lgin::cpu
