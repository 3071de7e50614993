#!/usr/bin/env bash
# Checks a proof of one record by OpenSSL 3 and b3sum alone, sharing no code with sessionlog.
#
#     check-proof.sh PROOF RECORD LOG_VKEY [WITNESS_VKEY...]
#
# PROOF is a file of 'sessionlog prove ID SEQ', RECORD the line beside it. Every key that is named must have signed.
# Needs bash, coreutils, sed, grep, openssl and b3sum. Ends with status 0 if the record is proved, 1 if not.
set -euo pipefail
export LC_ALL=C

fail() { printf 'NOT PROVED: %s\n' "$(tr -cd '[:print:]' <<<"$*")" >&2; exit 1; }
hex() { od -An -v -tx1 | tr -d ' \n'; }
unhex() { printf "$(sed 's/../\\x&/g' <<<"$1")"; }
unbase64() { base64 -d 2>/dev/null <<<"$1" || fail "not base64: ${1:0:60}"; }
hex_of() { unbase64 "$1" | hex; }
sha() { unhex "$1" | openssl dgst -sha256 -r | cut -c1-64; }
sha_file() { openssl dgst -sha256 -r "$1" | cut -c1-64; }
number() { [[ $1 =~ ^(0|[1-9][0-9]{0,17})$ ]] || fail "not a number: ${1:0:60}"; }
value() { sed -n "s/^$1 //p" "$2" | { [[ ${3:-one} == one ]] && head -n 1 || cat; }; }

# way_up LEAF INDEX SIZE HASH...: print the root to which an inclusion proof leads (RFC 9162 section 2.1.3.2).
way_up() {
    local result=$1 node=$2 last=$(($3 - 1)) sibling
    shift 3
    ((node <= last)) || fail "there is no such leaf"
    for sibling; do
        ((last > 0)) || fail "a way up is too long"
        if ((node % 2 == 1 || node == last)); then
            result=$(sha "01$sibling$result")
            while ((node > 0 && node % 2 == 0)); do node=$((node / 2)) last=$((last / 2)); done
        else
            result=$(sha "01$result$sibling")
        fi
        node=$((node / 2)) last=$((last / 2))
    done
    ((last == 0)) || fail "a way up is too short"
    echo "$result"
}

# check_signature VKEY: its signature stands under the checkpoint and is good.
check_signature() {
    local vkey=$1 name id key line blob message
    name=${vkey%%+*} id=${vkey#*+} id=${id%%+*}
    key=$(hex_of "${vkey#*+*+}")
    [[ $(printf '%s\n' "$name" | hex) && ${#key} == 66 ]] || fail "not an Ed25519 key: $vkey"
    [[ $(sha "$(printf '%s\n' "$name" | hex)$key" | cut -c1-8) == "$id" ]] || fail "the key id does not fit: $vkey"
    unhex "302a300506032b6570032100${key:2}" >"$tmp/key.der"
    while read -r line; do
        blob=$(hex_of "${line##* }")
        [[ $line == "$dash $name "* && ${blob:0:8} == "$id" ]] || continue
        message=$tmp/text
        if [[ ${key:0:2} == 04 ]]; then
            message=$tmp/cosigned
            printf 'cosignature/v1\ntime %d\n' "0x${blob:8:16}" | cat - "$tmp/text" >"$message"
            blob=${blob:0:8}${blob:24}
        fi
        unhex "${blob:8}" >"$tmp/signature"
        openssl pkeyutl -verify -pubin -inkey "$tmp/key.der" -keyform DER -rawin -in "$message" \
            -sigfile "$tmp/signature" >/dev/null 2>&1 || fail "the signature of $name is wrong"
        return
    done < <(sed '1,/^$/d' "$tmp/checkpoint")
    fail "$name did not sign"
}

(($# >= 3)) || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
proof=$1 record=$2 log=$3
shift 2
dash=$(printf '\xe2\x80\x94')
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# the parts of the file
sed '/^$/,$d' "$proof" >"$tmp/head"
sed '1,/^$/d' "$proof" >"$tmp/checkpoint"
sed '/^$/,$d' "$tmp/checkpoint" >"$tmp/text"
[[ $(head -n 1 "$tmp/head") == c2sp.org/tlog-proof@v1 ]] || fail "not a proof file"
unbase64 "$(value extra "$tmp/head")" >"$tmp/extra"
[[ $(head -n 1 "$tmp/extra") == "sessionlog/proof/1 record" ]] || fail "not a proof of a record"
unbase64 "$(value entry "$tmp/extra")" >"$tmp/entry"
unbase64 "$(value statement "$tmp/extra")" >"$tmp/statement"

# the checkpoint is the log's, and everybody named signed it
mapfile -t checkpoint <"$tmp/text"
[[ ${checkpoint[0]} == "${log%%+*}" && ${#checkpoint[@]} == 3 ]] || fail "the checkpoint is not of ${log%%+*}"
for vkey; do check_signature "$vkey"; done
size=${checkpoint[1]}
number "$size"

# the anchor is its last entry
index=$(value index "$tmp/head")
[[ $index == $((size - 1)) ]] || fail "the entry is not the last one"
hashes=()
while read -r line; do hashes+=("$(hex_of "$line")"); done < <(sed '1,/^index /d' "$tmp/head")
leaf=$(sha "00$(hex <"$tmp/entry")")
[[ $(way_up "$leaf" "$index" "$size" "${hashes[@]}") == "$(hex_of "${checkpoint[2]}")" ]] ||
    fail "the entry is not in the log"
[[ $(head -n 1 "$tmp/entry") == sessionlog/anchor/1 ]] || fail "the entry is not an anchor"

# the statement is in its catalog, where the session's id leads
mapfile -t statement <"$tmp/statement"
[[ ${statement[0]} == sessionlog/session/1 && ${#statement[@]} == 6 ]] || fail "not a session statement"
id=${statement[1]} records=${statement[3]}
[[ $id =~ ^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$ && ${statement[5]} =~ ^(live|final|deleted\ [0-9]+)$ ]] ||
    fail "not a session statement"
number "$records"
key=$(printf '%s' "$id" | openssl dgst -sha256 -r | cut -c1-64)
node=$(sha "03$key$(sha_file "$tmp/statement")")
above=256
while read -r bit sibling; do
    number "$bit"
    ((bit < above)) || fail "the branches do not follow each other"
    above=$bit
    sibling=$(hex_of "$sibling")
    if (((16#${key:bit / 4:1} >> (3 - bit % 4)) & 1)); then pair=$sibling$node; else pair=$node$sibling; fi
    node=$(sha "02$(printf '%04x' "$bit")$pair")
done < <(value branch "$tmp/extra" all)
[[ $node == "$(value catalog "$tmp/entry")" ]] || fail "the statement is not in the catalog"

# the record is in the session's tree, at its position
seq=$(value seq "$tmp/extra")
number "$seq"
hash=$(head -n 1 "$record" | tr -d '\n' | tail -c +76 | b3sum --derive-key 'sessionlog v1 record' --no-names)
grep -qE "^\{\"hash\":\"$hash\",\"prev_hash\":(null|\"[0-9a-f]{64}\"),\"seq\":$seq,\"kind\":" "$record" ||
    fail "the record is changed, or is not number $seq"
(($(wc -l <"$record") == 1)) || fail "more or less than one line stands in $record"
hashes=()
while read -r line; do hashes+=("$(hex_of "$line")"); done < <(value hash "$tmp/extra" all)
leaf=$(sha "00$(hex_of "$(value nonce "$tmp/extra")")$hash")
[[ $(way_up "$leaf" "$seq" "$records" "${hashes[@]}") == "${statement[4]}" ]] ||
    fail "the record is not the one that was anchored"

echo "PROVED: this is record $seq of $records of session $id (${statement[5]}), as of $size entries of ${checkpoint[0]}"
