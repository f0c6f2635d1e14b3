// Its parts are headers for this file alone, in an unnamed namespace: what is called once is then inlined as in one file.
#include <algorithm>
#include <memory>

#include "edit_nv12.h"
#include "edit_packed.h"

namespace lgin::cpu {
namespace {

bool is_empty(const PastePlan& plan) { return plan.column_begin >= plan.column_end || plan.row_begin >= plan.row_end; }

}  // namespace

template <class Frame, class T>
void region_paste(const Frame& frame, const FacePlan& face_plan, const EditViews<T>& views, int threads) {
  if (face_plan.count() == 0) return;
  const PlanarEdits<T>& sizes = views.first;
  EditTexels texels(sizes.face_size, sizes.patch_size, sizes.coarse_size, order_of(frame));
  auto source = source_for(frame);
  source.reserve(face_plan, frame);
  // All memory is there before the first byte changes: a line of each worker, as long as any face's.
  int longest = 0, workers = 0;
  for (const PastePlan& plan : face_plan.pastes()) {
    longest = std::max(longest, plan.column_end - plan.column_begin + 1);
    workers = std::max(workers, (last_unit(frame, plan) - first_unit(frame, plan)) / kRowsPerChunk + 1);
  }
  const std::size_t length = static_cast<std::size_t>(longest);
  const std::size_t lines = length * static_cast<std::size_t>(std::min(threads, workers));
  const std::unique_ptr<Color4[]> details(new Color4[lines]);
  const std::unique_ptr<float[]> floats(new float[3 * lines]);
  for (std::size_t n = 0; n < face_plan.pastes().size(); ++n) {  // in order: each reads what those before it left
    const PastePlan& plan = face_plan.pastes()[n];
    if (is_empty(plan)) continue;
    const PlanarEdits<T> edits = views.of(n);
    texels.load(edits, threads);
    source.take(frame, plan, texels, threads);
    const Job<Frame, T> job{frame, plan, texels, edits, source.get(), has_colour(frame, plan), views.edits_first};
    if (texels.moves() && !moves_after(job)) source.finish();
    const int first = first_unit(frame, plan), units = last_unit(frame, plan) - first;
    parallel_for(units, kRowsPerChunk, threads, [&](int begin, int end, int worker) {
      const std::size_t start = length * static_cast<std::size_t>(worker);
      float* const own = floats.get() + 3 * start;
      const Sums sums{details.get() + start, own, own + length, own + 2 * length};
      for (int unit = first + begin; unit < first + end; ++unit) paste_unit(job, unit, sums);
    });
    if (!moves_after(job)) continue;
    source.finish();
    parallel_for(units, kRowsPerChunk, threads, [&](int begin, int end, int) {
      for (int unit = first + begin; unit < first + end; ++unit) move_unit(job, unit);
    });
  }
}

template void region_paste(const PackedFrame&, const FacePlan&, const EditViews<float>&, int);
template void region_paste(const PackedFrame&, const FacePlan&, const EditViews<Half>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const EditViews<float>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const EditViews<Half>&, int);

}  // namespace lgin::cpu
