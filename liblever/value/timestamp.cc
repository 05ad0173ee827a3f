#include "liblever/value/timestamp.h"

#include <cassert>
#include <cstddef>
#include <cstdio>

namespace lever::value {
namespace {

constexpr int64_t kSecondsPerDay = 86'400;
constexpr uint32_t kNanosPerSecond = 1'000'000'000;
constexpr int64_t kFirstSecond = -62'135'596'800;  // 0001-01-01T00:00:00Z
constexpr int64_t kLastSecond = 253'402'300'799;   // 9999-12-31T23:59:59Z

struct Date {
  int64_t year;
  int64_t month;  // 1 to 12
  int64_t day;    // 1 to 31
};

// Days since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that
// the leap day is the last of its year; 400 years have 146,097 days.
int64_t DaysFromDate(Date date) {
  const int64_t year = date.year - (date.month <= 2 ? 1 : 0);
  const int64_t era = year / 400;  // years are positive here
  const int64_t year_of_era = year - era * 400;
  const int64_t month_from_march = (date.month + 9) % 12;
  const int64_t day_of_year = (153 * month_from_march + 2) / 5 + date.day - 1;
  return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
         719'468;
}

Date DateFromDays(int64_t days) {
  days += 719'468;  // from 0000-03-01, not negative from year 1 on
  const int64_t era = days / 146'097;
  const int64_t day_of_era = days - era * 146'097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  return {era * 400 + year_of_era + (month <= 2 ? 1 : 0), month,
          day_of_year - (153 * month_from_march + 2) / 5 + 1};
}

int64_t DaysInMonth(int64_t year, int64_t month) {
  constexpr int8_t kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return month == 2 && leap ? 29 : kDays[month - 1];
}

uint64_t BigEndian(std::span<const uint8_t> bytes) {
  uint64_t number = 0;
  for (const uint8_t byte : bytes) number = number << 8 | byte;
  return number;
}

void AppendBigEndian(uint64_t number, int width, std::string* out) {
  for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(number >> shift));
  }
}

// Reads the fixed columns of RFC 3339 from left to right; after a failure all else fails too.
class TextReader {
 public:
  explicit TextReader(std::string_view text) : text_(text) {}

  int64_t Digits(size_t count) {
    int64_t number = 0;
    for (size_t i = 0; i < count; ++i) {
      if (!AtDigit()) return Fail();
      number = number * 10 + (text_[at_++] - '0');
    }
    return number;
  }
  // One of the characters of `choice`; returns it.
  char OneOf(std::string_view choice) {
    if (at_ == text_.size() || choice.find(text_[at_]) == std::string_view::npos) {
      Fail();
      return '\0';
    }
    return text_[at_++];
  }
  // ".5" as 500,000,000; 0 where there is no fraction.
  uint32_t Fraction() {
    if (at_ == text_.size() || text_[at_] != '.') return 0;
    ++at_;
    if (!AtDigit()) return static_cast<uint32_t>(Fail());
    uint32_t nanos = 0;
    uint32_t unit = kNanosPerSecond;
    for (; AtDigit(); ++at_) {
      if (unit == 1) return static_cast<uint32_t>(Fail());
      unit /= 10;
      nanos += static_cast<uint32_t>(text_[at_] - '0') * unit;
    }
    return nanos;
  }
  bool Done() const { return !failed_ && at_ == text_.size(); }

 private:
  bool AtDigit() const { return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; }
  int64_t Fail() {
    failed_ = true;
    at_ = text_.size();
    return 0;
  }

  std::string_view text_;
  size_t at_ = 0;
  bool failed_ = false;
};

}  // namespace

std::optional<Timestamp> DecodeTimestamp(std::span<const uint8_t> payload) {
  Timestamp time;
  if (payload.size() == 4) {
    time.seconds = static_cast<int64_t>(BigEndian(payload));
  } else if (payload.size() == 8) {
    const uint64_t both = BigEndian(payload);
    time.nanos = static_cast<uint32_t>(both >> 34);
    time.seconds = static_cast<int64_t>(both & ((uint64_t{1} << 34) - 1));
  } else if (payload.size() == 12) {
    time.nanos = static_cast<uint32_t>(BigEndian(payload.first(4)));
    time.seconds = static_cast<int64_t>(BigEndian(payload.subspan(4)));
  } else {
    return std::nullopt;
  }
  if (time.nanos >= kNanosPerSecond) return std::nullopt;
  return time;
}

void EncodeTimestamp(Timestamp time, std::string* out) {
  const uint64_t seconds = static_cast<uint64_t>(time.seconds);
  if (seconds >> 34 != 0) {  // negative ones too
    AppendBigEndian(time.nanos, 4, out);
    AppendBigEndian(seconds, 8, out);
  } else if (time.nanos != 0 || seconds >> 32 != 0) {
    AppendBigEndian(uint64_t{time.nanos} << 34 | seconds, 8, out);
  } else {
    AppendBigEndian(seconds, 4, out);
  }
}

bool HasText(Timestamp time) { return time.seconds >= kFirstSecond && time.seconds <= kLastSecond; }

void FormatTimestamp(Timestamp time, std::string* out) {
  assert(HasText(time));
  // Counted from year 1, so that division rounds down.
  const int64_t since_first = time.seconds - kFirstSecond;
  const int64_t days = since_first / kSecondsPerDay + kFirstSecond / kSecondsPerDay;
  const int64_t second_of_day = since_first % kSecondsPerDay;
  const Date date = DateFromDays(days);
  char text[96];
  int size = std::snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d",
                           static_cast<int>(date.year), static_cast<int>(date.month),
                           static_cast<int>(date.day), static_cast<int>(second_of_day / 3600),
                           static_cast<int>(second_of_day / 60 % 60),
                           static_cast<int>(second_of_day % 60));
  if (time.nanos != 0) {
    size += std::snprintf(text + size, sizeof(text) - size, ".%09u", time.nanos);
    while (text[size - 1] == '0') --size;
  }
  out->append(text, size).push_back('Z');
}

std::optional<Timestamp> ParseTimestamp(std::string_view text) {
  TextReader reader(text);
  Date date{};
  date.year = reader.Digits(4);
  reader.OneOf("-");
  date.month = reader.Digits(2);
  reader.OneOf("-");
  date.day = reader.Digits(2);
  reader.OneOf("Tt");
  const int64_t hour = reader.Digits(2);
  reader.OneOf(":");
  const int64_t minute = reader.Digits(2);
  reader.OneOf(":");
  const int64_t second = reader.Digits(2);
  const uint32_t nanos = reader.Fraction();
  const char sign = reader.OneOf("Zz+-");
  int64_t offset_hour = 0;
  int64_t offset_minute = 0;
  if (sign == '+' || sign == '-') {
    offset_hour = reader.Digits(2);
    reader.OneOf(":");
    offset_minute = reader.Digits(2);
  }
  if (!reader.Done()) return std::nullopt;
  if (date.year < 1 || date.month < 1 || date.month > 12 || date.day < 1 ||
      date.day > DaysInMonth(date.year, date.month) || hour > 23 || minute > 59 || second > 59 ||
      offset_hour > 23 || offset_minute > 59) {
    return std::nullopt;
  }
  const int64_t offset = (sign == '-' ? -1 : 1) * (offset_hour * 3600 + offset_minute * 60);
  const Timestamp time{
      DaysFromDate(date) * kSecondsPerDay + hour * 3600 + minute * 60 + second - offset, nanos};
  if (!HasText(time)) return std::nullopt;
  return time;
}

}  // namespace lever::value
