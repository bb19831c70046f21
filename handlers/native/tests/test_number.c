/* Exact decimals, whole numbers and the venues' times. */
#include "check.h"
#include "number.h"
#include "plan.h"

#include <string.h>

static void check_decimal(const char *text, enum bw_number_fault fault, int64_t mantissa, uint8_t decimals) {
    int64_t got = 0;
    uint8_t places = 0;
    CHECK(bw_decimal_parse(text, strlen(text), &got, &places) == fault);
    if (fault != BW_NUMBER_OK) return;
    CHECK(got == mantissa);
    CHECK(places == decimals);
}

static void test_decimals(void) {
    check_decimal("0", BW_NUMBER_OK, 0, 0);
    check_decimal("0.00000000", BW_NUMBER_OK, 0, 0);
    check_decimal("61737.63000000", BW_NUMBER_OK, 6173763, 2);
    check_decimal("100", BW_NUMBER_OK, 100, 0);
    check_decimal("-1", BW_NUMBER_OK, -1, 0);
    check_decimal("1e-08", BW_NUMBER_OK, 1, 8);
    check_decimal("1.50E+3", BW_NUMBER_OK, 1500, 0);
    check_decimal("92233720368.54775807", BW_NUMBER_OK, INT64_MAX, 8);
    check_decimal("92233720368.54775808", BW_NUMBER_OVERFLOW, 0, 0);
    check_decimal("0.0000000000000000001", BW_NUMBER_OVERFLOW, 0, 0);
    check_decimal("1e30", BW_NUMBER_OVERFLOW, 0, 0);
    check_decimal("0e99999999999", BW_NUMBER_OK, 0, 0);
    const char *bad[] = {"", "-", ".", "5.", ".5", "1..2", "1.2.3", "1e", "1e+", "1x", "NaN", "+1", " 1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) check_decimal(bad[i], BW_NUMBER_MALFORMED, 0, 0);
}

static void test_integers(void) {
    int64_t value;
    CHECK(bw_integer_parse("335226848531", 12, &value) && value == 335226848531);
    CHECK(bw_integer_parse("-1", 2, &value) && value == -1);
    CHECK(bw_integer_parse("9223372036854775807", 19, &value) && value == INT64_MAX);
    CHECK(!bw_integer_parse("9223372036854775808", 19, &value));
    CHECK(!bw_integer_parse("15113583034416118705", 20, &value));
    CHECK(!bw_integer_parse("", 0, &value) && !bw_integer_parse("-", 1, &value));
    CHECK(!bw_integer_parse("1234567:", 8, &value) && !bw_integer_parse("1234567/9", 9, &value));
}

static int64_t time_of(uint32_t format, const char *text) {
    return bw_time_parse(format, text, strlen(text));
}

static void test_times(void) {
    CHECK(time_of(BW_TIME_ISO8601, "2026-08-16T23:37:02.102345Z") == 1786923422102345000);
    CHECK(time_of(BW_TIME_ISO8601, "2026-09-26T04:14:54.777523902Z") == 1790396094777523902);
    CHECK(time_of(BW_TIME_ISO8601, "1970-01-01T00:00:00Z") == 0);
    CHECK(time_of(BW_TIME_ISO8601, "2024-02-29 12:00:00+00:00") == 1709208000000000000);
    CHECK(time_of(BW_TIME_ISO8601, "0001-01-01T00:00:00.000000Z") == 0);
    CHECK(time_of(BW_TIME_ISO8601, "2026-08-16T23:37:02+02:00") == 0);
    CHECK(time_of(BW_TIME_ISO8601, "yesterday, about noon") == 0);
    CHECK(time_of(BW_TIME_MS, "1597026383085") == 1597026383085000000);
    CHECK(time_of(BW_TIME_US, "1597026383085123") == 1597026383085123000);
    CHECK(time_of(BW_TIME_S, "1597026383.5") == 1597026383500000000);
    CHECK(time_of(BW_TIME_MS, "-5") == 0 && time_of(BW_TIME_NONE, "5") == 0);
}

int main(void) {
    test_decimals();
    test_integers();
    test_times();
    return 0;
}
