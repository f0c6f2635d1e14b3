// The edits of a face as texels, loaded for each face and age before its lines are worked out.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>

#include "parallel.h"
#include "views.h"

namespace lgin::cpu {
namespace {

// Two values of a texel of the face view: grey and skin. Neighbours of a row are one vector.
struct Pair {
  float grey, skin;
};

// The edits of a face: texels interleaved, with their border replicated around them, and which of them do anything at all.
class EditTexels {
 public:
  EditTexels(int face_size, int patch_size, int coarse_size, Order order)
      : face_size_(face_size),
        patch_size_(patch_size),
        coarse_size_(coarse_size),
        order_(order),
        details_(new Texel[index_of(kViews)]),
        pairs_(new Pair[area(face_size)]),
        coarse_(new Texel[area(coarse_size)]) {}

  Order order() const { return order_; }
  Texels view(int v) const { return Texels{details_.get() + index_of(v), v == 0 ? face_size_ : patch_size_}; }
  const Pair* pairs() const { return pairs_.get(); }
  Texels coarse() const { return Texels{coarse_.get(), coarse_size_}; }
  bool moves() const { return moves_; }
  bool greys() const { return greys_; }
  bool draws() const { return draws_; }

  template <class T>
  void load(const PlanarEdits<T>& edits, int threads) {
    std::atomic<bool> greys{false}, skin{false};
    const int rows = face_size_ + kRegions * patch_size_;
    parallel_for(rows, 64, threads, [&](int begin, int end, int) {
      for (int row = begin; row < end; ++row) {
        const int v = row < face_size_ ? 0 : 1 + (row - face_size_) / patch_size_;
        const int i = v == 0 ? row : (row - face_size_) % patch_size_;
        const auto view = edits.view(v);
        const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(view.size) * view.size;
        const T* const source = view.planes + static_cast<std::ptrdiff_t>(i) * view.size;
        const bool bgr = order_ == Order::bgr;
        const T* const planes[4] = {source + (bgr ? 2 * plane : 0), source + plane, source + (bgr ? 0 : 2 * plane),
                                    source + 3 * plane};
        interleave(planes, view.size, i, details_.get() + index_of(v));
        if (v == 0 && load_pairs(edits, i, &greys)) skin = true;
      }
    });
    greys_ = greys;
    const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(coarse_size_) * coarse_size_;
    moves_ = edits.flow && any(edits.flow, 2 * plane);
    draws_ = edits.lines && skin && any(edits.lines, static_cast<std::ptrdiff_t>(edits.line_size) * edits.line_size);
    if (!moves_ && !draws_) return;
    const T* const flow = edits.flow ? edits.flow : edits.place;
    const T* const place = edits.place ? edits.place : edits.flow;
    for (int i = 0; i < coarse_size_; ++i) {
      const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(i) * coarse_size_;
      const T* const planes[4] = {flow + row, flow + plane + row, place + row, place + plane + row};
      interleave(planes, coarse_size_, i, coarse_.get());
    }
  }

 private:
  static std::size_t area(int size) { return (static_cast<std::size_t>(size) + 2) * (static_cast<std::size_t>(size) + 2); }
  std::size_t index_of(int v) const {
    return v == 0 ? 0 : area(face_size_) + static_cast<std::size_t>(v - 1) * area(patch_size_);
  }

  // A row of texels, and with the first and the last one those beyond them.
  template <class T>
  static void interleave(const T* const* planes, int size, int i, Texel* corner) {
    const std::ptrdiff_t stride = size + 2;
    Texel* const row = corner + (i + 1) * stride;
    for (int j = 0; j < size; ++j) {
      row[j + 1] = Texel{{to_float(planes[0][j]), to_float(planes[1][j]), to_float(planes[2][j]), to_float(planes[3][j])}};
    }
    replicate(row, size, i, stride);
  }

  template <class V>
  static void replicate(V* row, int size, int i, std::ptrdiff_t stride) {
    row[0] = row[1];
    row[size + 1] = row[size];
    if (i == 0) std::copy_n(row, stride, row - stride);
    if (i == size - 1) std::copy_n(row, stride, row + stride);
  }

  // Whether there is skin in the row.
  template <class T>
  bool load_pairs(const PlanarEdits<T>& edits, int i, std::atomic<bool>* greys) {
    const std::ptrdiff_t start = static_cast<std::ptrdiff_t>(i) * face_size_;
    const T* const grey = edits.face_plane(4) + start;
    const T* const skin = edits.face_plane(5) + start;
    const std::ptrdiff_t stride = face_size_ + 2;
    Pair* const row = pairs_.get() + (i + 1) * stride;
    float greyest = 0.0f, most = 0.0f;  // a sum of absolute values: 0 where all are, and not a number where one is not
    for (int j = 0; j < face_size_; ++j) {
      const Pair pair{to_float(grey[j]), to_float(skin[j])};
      row[j + 1] = pair;
      greyest += std::fabs(pair.grey);
      most += std::fabs(pair.skin);
    }
    replicate(row, face_size_, i, stride);
    if (!(greyest == 0.0f)) *greys = true;
    return !(most == 0.0f);
  }

  template <class T>
  static bool any(const T* values, std::ptrdiff_t count) {
    return std::any_of(values, values + count, [](T value) { return !(to_float(value) == 0.0f); });
  }

  int face_size_, patch_size_, coarse_size_;
  Order order_;
  bool moves_ = false, greys_ = false, draws_ = false;
  std::unique_ptr<Texel[]> details_;
  std::unique_ptr<Pair[]> pairs_;
  std::unique_ptr<Texel[]> coarse_;
};

}  // namespace
}  // namespace lgin::cpu
