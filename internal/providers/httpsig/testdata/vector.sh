#!/bin/sh
# Makes the files of this folder with openssl and perl, without code of the gateway: a key and a
# certificate that nothing trusts, and the headers of a signed request (vector.txt). It was run once.
set -eu
cd "$(dirname "$0")"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/ca.key" -out "$dir/ca.pem" -days 36500 -utf8 \
	-subj '/C=DE/O=Prüfstelle, Süd "A" GmbH/CN=QTSP CA 100%' 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout key.pem -out "$dir/csr.pem" -subj '/CN=TPP of a test' 2>/dev/null
openssl x509 -req -in "$dir/csr.pem" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -days 36500 \
	-set_serial 0x0A1B2C3D4E5F60718293A4B5C6D7E8F901234567 -out certificate.pem 2>/dev/null

printf '{"withBalance":true}' >"$dir/body"
digest="SHA-256=$(openssl dgst -sha256 -binary "$dir/body" | openssl base64 -A)"
id=99391c7e-ad88-49ec-a2ad-99ddcb1f7721
printf 'digest: %s\nx-request-id: %s\npsu-id: user 1\ntpp-redirect-uri: https://tpp.example/back' "$digest" "$id" >"$dir/text"
signature=$(openssl dgst -sha256 -sign key.pem "$dir/text" | openssl base64 -A)

# openssl writes an even number of digits; keyId has no leading zeros.
serial=$(openssl x509 -in certificate.pem -noout -serial | sed 's/^serial=0*//')
issuer=$(openssl x509 -in certificate.pem -noout -issuer -nameopt esc_2253,utf8,sep_comma_plus,dn_rev,sname |
	perl -pe 'chomp; s/^issuer=//; s/([^!-~]|["\\%])/sprintf("%%%02X", ord($1))/ge')
{
	echo "Digest: $digest"
	echo "Signature: keyId=\"SN=$serial,CA=$issuer\",algorithm=\"rsa-sha256\",headers=\"digest x-request-id psu-id tpp-redirect-uri\",signature=\"$signature\""
	echo "Tpp-Signature-Certificate: $(openssl x509 -in certificate.pem -outform DER | openssl base64 -A)"
} >vector.txt
