#include "liblever/policy/load_window.h"

#include <algorithm>
#include <cmath>

namespace lever::policy {
namespace {

double Seconds(int64_t ns) { return static_cast<double>(ns) / static_cast<double>(kNanosPerSecond); }

}  // namespace

void LoadWindow::CloseSecond() {
  newest_ = (newest_ + 1) % kTrendSeconds;
  seconds_[newest_] = static_cast<float>(sum_);
  known_ = std::min<uint32_t>(known_ + 1, kTrendSeconds);
  second_began_ns_ += kNanosPerSecond;
  sum_ = 0;
}

void LoadWindow::Observe(int64_t now_ns, double load) {
  if (observed_ns_ == 0) {
    observed_ns_ = second_began_ns_ = now_ns;
  }
  // After a long silence only the end of it fits in.
  constexpr int64_t kAll = static_cast<int64_t>(kTrendSeconds + 1) * kNanosPerSecond;
  if (now_ns - second_began_ns_ > 2 * kAll) {
    observed_ns_ = second_began_ns_ = now_ns - kAll;
    sum_ = 0;
  }
  while (now_ns - second_began_ns_ >= kNanosPerSecond) {
    const int64_t end_ns = second_began_ns_ + kNanosPerSecond;
    sum_ += load_ * Seconds(end_ns - observed_ns_);
    observed_ns_ = end_ns;
    CloseSecond();
  }
  if (now_ns > observed_ns_) {
    sum_ += load_ * Seconds(now_ns - observed_ns_);
    observed_ns_ = now_ns;
  }
  load_ = load;
}

double LoadWindow::SecondMean(size_t ago) const {
  return static_cast<double>(seconds_[(newest_ + kTrendSeconds - (ago - 1)) % kTrendSeconds]);
}

double LoadWindow::PanicMean() const {
  const double current_s = Seconds(observed_ns_ - second_began_ns_);
  double sum = sum_;
  double length_s = current_s;
  const size_t whole = std::min<size_t>(known_, kPanicSeconds);
  for (size_t ago = 1; ago <= whole; ++ago) {
    sum += SecondMean(ago);
    length_s += 1;
  }
  return length_s > 0 ? sum / length_s : load_;
}

double LoadWindow::Slope(size_t seconds) const {
  const size_t count = std::min<size_t>(known_, seconds);
  if (count < 3) return 0;
  double mean = 0;
  for (size_t ago = 1; ago <= count; ++ago) mean += SecondMean(ago);
  mean /= static_cast<double>(count);
  const double middle = static_cast<double>(count + 1) / 2;
  double products = 0;
  double squares = 0;
  for (size_t ago = 1; ago <= count; ++ago) {
    const double x = middle - static_cast<double>(ago);
    products += x * (SecondMean(ago) - mean);
    squares += x * x;
  }
  return products / squares;
}

double LoadWindow::Forecast(int64_t ahead_ns) const {
  const double mean = PanicMean();
  const double slope = std::min(Slope(kTrendSeconds), Slope(kTrendShortSeconds));
  // The mean is what the load was in the middle of the window. A rise within the square root of the load
  // is what independent calls do by chance.
  const double rise = slope * (static_cast<double>(kPanicSeconds) / 2 + Seconds(ahead_ns));
  if (rise <= std::sqrt(mean)) return mean;
  double peak = load_;
  for (size_t ago = 1; ago <= std::min<size_t>(known_, kPanicSeconds); ++ago) {
    peak = std::max(peak, SecondMean(ago));
  }
  return std::min(mean + rise, std::max(mean, kForecastMost * peak));
}

}  // namespace lever::policy
