#!/bin/sh
# Makes a password for each user of an access list, and the hashed password file of mosquitto.
#
#   users.sh ACCESS-LIST FOLDER
#
# FOLDER gets `passwords` (for mosquitto) and `secrets/USER`, one file for each user: carry it to that client, then delete
# it here. Users who have a password keep it; delete their line in `passwords` for a new one. No password stands on a
# command line, where every user of the machine could read it.
set -eu
umask 077

if [ $# -ne 2 ]; then
    echo "usage: $0 ACCESS-LIST FOLDER" >&2
    exit 2
fi
list=$1 folder=$2
mkdir -p "$folder/secrets"
touch "$folder/passwords"

added=$(mktemp "$folder/passwords.XXXXXX")
trap 'rm -f "$added"' EXIT
sed -n 's/^user //p' "$list" | while read -r user; do
    if grep -q "^$user:" "$folder/passwords"; then
        continue
    fi
    secret=$(openssl rand -hex 24)
    printf '%s' "$secret" >"$folder/secrets/$user"
    printf '%s:%s\n' "$user" "$secret" >>"$added"
done
if [ -s "$added" ]; then
    mosquitto_passwd -U "$added"
    cat "$added" >>"$folder/passwords"
fi
