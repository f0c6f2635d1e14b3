// The kernels' launches: device pointers and a stream, nothing staged and nothing waited for, so that they can stand in a
// captured graph with frames that are on the device already.
#pragma once

#include <cuda_runtime_api.h>

#include "region_ops.h"

namespace lgin::cuda {

// `plans` [count * kViews] (plan_crop), `views` and the frame's bytes are in device memory.
template <class Frame, class T>
void launch_region_crop(const Frame& frame, const ViewPlan* plans, int count, const Views<T>& views,
                        cudaStream_t stream);

// One face: `face` [3, S, S], `patches` [5, 3, P, P] and the frame's bytes are in device memory; the frame is changed in
// place. Nothing is launched for a face outside the frame.
template <class Frame, class T>
void launch_region_paste(const Frame& frame, const PastePlan& plan, const T* face, const T* patches,
                         cudaStream_t stream);

}  // namespace lgin::cuda
