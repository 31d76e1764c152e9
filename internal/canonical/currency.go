package canonical

import "strings"

// ISO 4217 codes by the number of digits of their minor unit. A test compares these lists with
// github.com/bojanz/currency, which follows the current list one of the standard.
const (
	minor0 = " BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF "
	minor3 = " BHD IQD JOD KWD LYD OMR TND "
	minor4 = " CLF UYW "
	minor2 = " AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF " +
		"CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD " +
		"GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL " +
		"MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR " +
		"PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP " +
		"TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG "
)

// ValidCurrency reports whether code has the form of an ISO 4217 alphabetic code, ^[A-Z]{3}$. The
// standard need not list the code, because currencies come and go.
func ValidCurrency(code string) bool {
	if len(code) != 3 {
		return false
	}
	for i := range 3 {
		if code[i] < 'A' || code[i] > 'Z' {
			return false
		}
	}
	return true
}

// minorUnits returns the number of decimals that ISO 4217 defines for a currency, and false for a
// code that it does not list.
func minorUnits(code string) (int, bool) {
	key := " " + code + " "
	switch {
	case strings.Contains(minor2, key):
		return 2, true
	case strings.Contains(minor0, key):
		return 0, true
	case strings.Contains(minor3, key):
		return 3, true
	case strings.Contains(minor4, key):
		return 4, true
	}
	return 0, false
}
