// IEEE half precision: by its bits on the host, whose compilers may lack the type, and by the GPU's own instruction. Both are
// exact, or rounded to nearest and even, so that they agree on every value; of NaN they agree that it is NaN.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_fp16.h>

#define LGIN_HD __host__ __device__ inline
#else
#define LGIN_HD inline
#endif

namespace lgin {

// A half as it lies in memory (NumPy float16).
struct Half {
  std::uint16_t bits;
};

LGIN_HD float half_to_float(Half half) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(half.bits));
#else
  const std::uint32_t sign = static_cast<std::uint32_t>(half.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (half.bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = half.bits & 0x3ffu;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24, exact in float
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
    return sign ? -magnitude : magnitude;
  }
  // 31 is infinity or NaN and stays at the top; the others are rebiased from 15 to 127.
  const std::uint32_t rebiased = exponent == 31 ? 255u : exponent + 112u;
  const std::uint32_t bits = sign | rebiased << 23 | mantissa << 13;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

// Round to nearest, ties to even; overflow to infinity; NaN stays NaN.
LGIN_HD Half float_to_half(float value) {
#if defined(__CUDA_ARCH__)
  return Half{__half_as_ushort(__float2half_rn(value))};
#else
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const std::uint32_t sign = bits >> 16 & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  std::uint32_t result;
  if (magnitude > 0x7f800000u) {
    result = 0x7e00u;
  } else if (magnitude >= 0x477ff000u) {  // 65520, half way from the largest half to the next step
    result = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {  // 2^-14 and above: normal; the carry of the rounding may raise the exponent
    result = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  } else if (magnitude < 0x33000000u) {  // below 2^-25
    result = 0;
  } else {  // subnormal: a whole number of 2^-24
    const std::uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    const std::uint32_t shift = 126u - (magnitude >> 23);
    const std::uint32_t rest = mantissa & ((1u << shift) - 1u);
    const std::uint32_t tie = 1u << (shift - 1u);
    result = mantissa >> shift;
    result += (rest > tie || (rest == tie && (result & 1u))) ? 1u : 0u;
  }
  return Half{static_cast<std::uint16_t>(sign | result)};
#endif
}

// Loads and stores of either element type, so that kernels are templates over it.
LGIN_HD float to_float(float value) { return value; }
LGIN_HD float to_float(Half value) { return half_to_float(value); }
LGIN_HD void store(float* target, float value) { *target = value; }
LGIN_HD void store(Half* target, float value) { *target = float_to_half(value); }

}  // namespace lgin
