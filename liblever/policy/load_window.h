// The load of a service over the last seconds: its mean over a short window, and where its trend leads.
//
// Load is weighted by time: what was observed counts until the next observation. A value; pure; any
// thread.
#ifndef LIBLEVER_POLICY_LOAD_WINDOW_H_
#define LIBLEVER_POLICY_LOAD_WINDOW_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "liblever/base/clock.h"

namespace lever::policy {

// The panic window of Knative's pod autoscaler, a tenth of its stable window of 60 s: short enough to
// follow a rise, long enough that a single burst of calls is not one.
inline constexpr size_t kPanicSeconds = 6;
// How far back a trend is looked for, and how far back it must still hold to be believed: a step that is
// over has a long trend and no short one.
inline constexpr size_t kTrendSeconds = 15;
inline constexpr size_t kTrendShortSeconds = 4;
// A trend is never drawn beyond twice what was really there.
inline constexpr double kForecastMost = 2.0;

class LoadWindow {
 public:
  // `load` holds from now on; what was said last holds until now. Time that runs backwards is ignored.
  void Observe(int64_t now_ns, double load);
  // The mean over the panic window.
  double PanicMean() const;
  // The load to expect `ahead_ns` from now: the panic mean, followed along the trend if it rises.
  double Forecast(int64_t ahead_ns) const;

 private:
  // Load a second, by least squares over the last `seconds`.
  double Slope(size_t seconds) const;
  // Of the whole second that ended `ago` seconds before the current one, 0 being the current one so far.
  double SecondMean(size_t ago) const;
  void CloseSecond();

  std::array<float, kTrendSeconds> seconds_{};  // means of whole seconds, a ring
  uint32_t newest_ = 0;
  uint32_t known_ = 0;          // whole seconds in the ring
  int64_t observed_ns_ = 0;     // 0: never
  int64_t second_began_ns_ = 0;
  double sum_ = 0;              // of the current second, load x seconds
  double load_ = 0;
};

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_LOAD_WINDOW_H_
