#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# NBD over TLS with the clients that people have: certificates and shared keys, with libnbd's tools and QEMU's;
# who has none or the wrong ones is refused, and a server that requires TLS says nothing before it.
# shellcheck disable=SC2154,SC2317 # the variables of lib.sh; functions that check calls
set -u
# shellcheck source=tests/nbd/lib.sh
. "${srcdir:-.}/tests/nbd/lib.sh"

begin_nbd

# ---- credentials ---------------------------------------------------------------------------------

# authority DIR NAME
authority() {
	mkdir -p "$1"
	printf 'cn = "%s"\nca\ncert_signing_key\n' "$2" >"$1/ca.info"
	certtool --generate-privkey --key-type=ecdsa --outfile "$1/ca-key.pem" 2>/dev/null &&
		certtool --generate-self-signed --load-privkey "$1/ca-key.pem" --template "$1/ca.info" \
			--outfile "$1/ca-cert.pem" 2>/dev/null
}

# issue CA-DIR DIR server|client LINE...: a certificate with these lines of certtool's template.
issue() {
	local ca=$1 to=$2 kind=$3
	shift 3
	mkdir -p "$to"
	printf '%s\n' 'organization = "test"' "tls_www_$kind" signing_key encryption_key "$@" >"$to/$kind.info"
	cp "$ca/ca-cert.pem" "$to/ca-cert.pem"
	certtool --generate-privkey --key-type=ecdsa --outfile "$to/$kind-key.pem" 2>/dev/null &&
		certtool --generate-certificate --load-ca-certificate "$ca/ca-cert.pem" \
			--load-ca-privkey "$ca/ca-key.pem" --load-privkey "$to/$kind-key.pem" \
			--template "$to/$kind.info" --outfile "$to/$kind-cert.pem" 2>/dev/null
}

ca=$dir/ca server=$dir/server alice=$dir/alice eve=$dir/eve none=$dir/none
authority "$ca" 'the authority'
authority "$dir/ca2" 'the authority' # another one, of the same name: else no client would show its certificate
issue "$ca" "$server" server 'cn = "the server"' 'dns_name = "localhost"' 'ip_address = "127.0.0.1"'
issue "$ca" "$alice" client 'cn = "alice"' 'dns_name = "alice.example"'
issue "$dir/ca2" "$eve" client 'cn = "eve"' 'dns_name = "alice.example"'
cp "$ca/ca-cert.pem" "$eve/ca-cert.pem" # eve knows whom to trust, and is not trusted
mkdir "$none" && cp "$ca/ca-cert.pem" "$none/ca-cert.pem"
issue "$ca" "$dir/old" client 'cn = "old"' 'dns_name = "old.example"' \
	'activation_date = "2001-01-01 00:00:00"' 'expiration_date = "2002-01-01 00:00:00"'
mkdir "$dir/stranger" && cp "$dir/ca2/ca-cert.pem" "$dir/stranger/ca-cert.pem"
cp "$alice"/client-*.pem "$dir/stranger" # alice, who trusts somebody else
psktool -u alice -p "$dir/keys.psk" >/dev/null 2>&1
psktool -u bob -p "$dir/keys.psk" >/dev/null 2>&1
psktool -u alice -p "$dir/wrong.psk" >/dev/null 2>&1
chmod 600 "$dir"/*.psk
check 'there are certificates and keys' [ -s "$server/server-cert.pem" -a -s "$eve/client-cert.pem" -a \
	-s "$dir/old/client-cert.pem" -a "$(wc -l <"$dir/keys.psk")" -eq 2 ]

# x509 DIR NAME: a URI by TCP; "localhost" is in the server's certificate.
x509() {
	printf 'nbds://localhost:%s/%s?tls-certificates=%s' "$nbd_port" "$2" "$1"
}

# psk FILE USER NAME
psk() {
	printf 'nbds://%s@localhost:%s/%s?tls-psk-file=%s' "$2" "$nbd_port" "$3" "$1"
}

# qemu_x509 DIR NAME, qemu_psk DIR USER NAME: the arguments of qemu-img.
qemu_x509() {
	printf '%s\n' --object "tls-creds-x509,id=tls0,dir=$1,endpoint=client,verify-peer=yes" --image-opts \
		"driver=nbd,server.type=inet,server.host=localhost,server.port=$nbd_port,export=$2,tls-creds=tls0"
}

qemu_psk() {
	printf '%s\n' --object "tls-creds-psk,id=tls0,dir=$1,endpoint=client,username=$2" --image-opts \
		"driver=nbd,server.type=inet,server.host=localhost,server.port=$nbd_port,export=$3,tls-creds=tls0"
}

# logged TITLE TEXT: the daemon has said that it refused TLS, and that reason.
logged() {
	grep -q -i -E -- "event=tls-refused.*($2)" "$dir/log"
	result $? "$1"
}

file=$dir/file
patches "$file" $((8 << 20)) 20 100000 21

# ---- certificates, required ----------------------------------------------------------------------

start_nbd --tls-certificates "$server" --tls-psk "$dir/keys.psk" --nbd-tls require
cowctl create disk 8M
works 'a copy in, by a certificate' nbdcopy -C 4 "$file" "$(x509 "$alice" disk)"
check 'each byte' content disk "$file"
works 'a copy out' nbdcopy -C 4 "$(x509 "$alice" disk)" "$dir/back"
check 'the same' cmp -s "$file" "$dir/back"
works 'what it is' nbdinfo --json "$(x509 "$alice" disk)"
check 'over TLS' grep -q '"TLS": true' "$dir/out"
works 'the list' nbdinfo --list "$(x509 "$alice" '')"
says 'has the object' 'export="disk"'
works 'a copy in, by a key' nbdcopy -C 4 "$dir/back" "$(psk "$dir/keys.psk" alice disk)"
works 'and out' nbdcopy "$(psk "$dir/keys.psk" bob disk)" "$dir/back"
check 'the same again' cmp -s "$file" "$dir/back"
works 'by TLS on the unix socket, too' \
	nbdcopy "nbds+unix://alice@/disk?socket=$nbd&tls-psk-file=$dir/keys.psk" "$dir/back"
mapfile -t args < <(qemu_x509 "$alice" disk)
works 'QEMU, by a certificate' qemu-img info "${args[@]}"
works 'QEMU copies out' qemu-img convert -O raw "${args[@]}" "$dir/back"
check 'the same once more' cmp -s "$file" "$dir/back"
mkdir "$dir/qemu" && cp "$dir/keys.psk" "$dir/qemu/keys.psk"
mapfile -t args < <(qemu_psk "$dir/qemu" alice disk)
works 'QEMU, by a key' qemu-img convert -O raw "${args[@]}" "$dir/back"
check 'and still the same' cmp -s "$file" "$dir/back"

fails 'a client without TLS' nbdinfo "$(tcp_uri disk)"
says 'is told to use it' TLS
fails 'on the unix socket, too' nbdinfo "$(uri disk)"
fails 'it gets no list' nbdinfo --list "nbd://127.0.0.1:$nbd_port"
fails 'QEMU without TLS' qemu-img info "$(tcp_uri disk)"
says 'is told, too' TLS
fails 'a client without a certificate' nbdinfo "$(x509 "$none" disk)"
logged 'which is in the log' 'no certificate'
fails 'one of another authority' nbdinfo "$(x509 "$eve" disk)"
logged 'which is in the log, too' 'certificate is refused: .*issuer'
fails 'one that has expired' nbdinfo "$(x509 "$dir/old" disk)"
logged 'as such' 'certificate is refused: .*expired'
fails 'one who trusts another server' nbdinfo "$(x509 "$dir/stranger" disk)"
fails 'a wrong key' nbdinfo "$(psk "$dir/wrong.psk" alice disk)"
fails 'nobody of that name' nbdinfo "$(psk "$dir/keys.psk" mallory disk)"
works 'those who may are served on' nbdinfo --size "$(x509 "$alice" disk)"
check 'nothing that was refused has changed it' content disk "$file"
stop_daemon

# ---- who may -------------------------------------------------------------------------------------

start_nbd --tls-certificates "$server" --tls-psk "$dir/keys.psk" --nbd-tls require \
	--tls-allow alice.example --tls-allow bob
works 'a name that is allowed' nbdinfo --size "$(x509 "$alice" disk)"
works 'an identity that is allowed' nbdinfo --size "$(psk "$dir/keys.psk" bob disk)"
fails 'an identity that is not' nbdinfo --size "$(psk "$dir/keys.psk" alice disk)"
issue "$ca" "$dir/carol" client 'cn = "alice.example"' 'dns_name = "carol.example"'
fails 'a name that is not, whatever its CN' nbdinfo --size "$(x509 "$dir/carol" disk)"
stop_daemon

# ---- on: who wants -------------------------------------------------------------------------------

start_nbd --tls-certificates "$server" --nbd-tls on
works 'where it is on, with TLS' nbdinfo --json "$(x509 "$alice" disk)"
check 'it is TLS' grep -q '"TLS": true' "$dir/out"
works 'and without' nbdinfo --json "$(tcp_uri disk)"
check 'it is not' grep -q '"TLS": false' "$dir/out"
works 'a copy in plain text' nbdcopy "$(uri disk)" "$dir/back"
check 'the same data' cmp -s "$file" "$dir/back"
stop_daemon
start_nbd
fails 'where it is off, with TLS' nbdinfo "$(x509 "$alice" disk)"
works 'without it is served' nbdinfo --size "$(tcp_uri disk)"
stop_daemon

# ---- STARTTLS ------------------------------------------------------------------------------------

start_nbd --tls-certificates "$server" --nbd-tls on
works 'what is sent before TLS counts for nothing behind it' \
	"$debian_python" "$srcdir/tests/nbd/starttls.py" "$nbd" "$alice" disk
[ -z "$out" ] || printf '%s\n' "$out" | sed 's/^/# /'
finish
