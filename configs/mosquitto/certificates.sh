#!/bin/sh
# Makes the plant's certificate authority, and with it a certificate of the broker and of each client that is named.
#
#   certificates.sh FOLDER BROKER-HOST [CLIENT...]
#
# FOLDER gets ca.pem (for everybody), ca.key (keep it offline), broker.pem and broker.key, and CLIENT.pem and CLIENT.key.
# Run it again for a new certificate or another client: the authority is kept, a certificate that is there is made anew.
# BROKER-HOST is the name or the address that the clients use; more names with commas: broker.plant.example,192.0.2.7.
set -eu
umask 077

AUTHORITY_DAYS=3650
CERTIFICATE_DAYS=397 # `inspector doctor` warns 30 days before

if [ $# -lt 2 ]; then
    echo "usage: $0 FOLDER BROKER-HOST[,OTHER-NAME] [CLIENT...]" >&2
    exit 2
fi
folder=$1 hosts=$2
shift 2
mkdir -p "$folder"
cd "$folder"

new_key() {
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

# issue NAME EXTENSIONS: a key and a certificate of the authority, replaced together.
issue() {
    printf '%s\n' "basicConstraints=critical,CA:false" "keyUsage=critical,digitalSignature" \
        "subjectKeyIdentifier=hash" "authorityKeyIdentifier=keyid" "$2" >"$1.extensions"
    new_key "$1.key.new"
    openssl req -new -key "$1.key.new" -subj "/CN=$1" |
        openssl x509 -req -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" -sha256 \
            -days "$CERTIFICATE_DAYS" -extfile "$1.extensions" -out "$1.pem.new"
    mv "$1.key.new" "$1.key"
    mv "$1.pem.new" "$1.pem"
    rm "$1.extensions"
    chmod 644 "$1.pem"
}

if [ ! -e ca.key ]; then
    new_key ca.key
    printf '%s\n' "basicConstraints=critical,CA:true,pathlen:0" "keyUsage=critical,keyCertSign,cRLSign" \
        "subjectKeyIdentifier=hash" >ca.extensions
    openssl req -new -key ca.key -subj "/CN=inspection line authority" |
        openssl x509 -req -signkey ca.key -sha256 -days "$AUTHORITY_DAYS" -extfile ca.extensions -out ca.pem
    rm ca.extensions
    chmod 644 ca.pem
fi

names=
for host in $(printf '%s' "$hosts" | tr ',' ' '); do
    case $host in
    *:* | [0-9]*.[0-9]*.[0-9]*.[0-9]*) kind=IP ;;
    *) kind=DNS ;;
    esac
    names="${names:+$names,}$kind:$host"
done
issue broker "extendedKeyUsage=serverAuth
subjectAltName=$names"
for client in "$@"; do
    issue "$client" "extendedKeyUsage=clientAuth"
done
