#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# TLS of a real daemon, by openssl s_client: who is let in, who is refused and with which reason in the
# log, and what a reload of the credentials changes.
# shellcheck disable=SC2154 # the variables of lib.sh
set -u
# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

# ---- certificates --------------------------------------------------------------------------------

# The key of all certificates: what differs is who has signed what.
new_key() {
	openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

# ca NAME: a CA of its own.
ca() {
	new_key "$dir/$1.key"
	openssl req -x509 -new -key "$dir/$1.key" -subj "/CN=$1" -days 2 -out "$dir/$1.pem" \
		-addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign,cRLSign
}

# signed NAME CA NAMES [OPTION...]: a certificate for these subject alternative names.
signed() {
	local name=$1 by=$2 names=$3
	shift 3
	new_key "$dir/$name.key"
	openssl req -new -key "$dir/$name.key" -subj "/CN=$name" -out "$dir/$name.csr"
	openssl x509 -req -in "$dir/$name.csr" -CA "$dir/$by.pem" -CAkey "$dir/$by.key" \
		-CAcreateserial -out "$dir/$name.pem" -extfile <(echo "subjectAltName=$names") \
		"$@" 2>/dev/null
}

# install NAME: this is the server's from the next reading on.
install_server() {
	cp "$dir/$1.pem" "$tls_dir/server-cert.pem" && cp "$dir/$1.key" "$tls_dir/server-key.pem" &&
		chmod 600 "$tls_dir/server-key.pem"
}

begin
tls_dir=$dir/tls
mkdir "$tls_dir"
{
	ca right
	ca wrong
	signed server right DNS:localhost,IP:127.0.0.1 -days 2
	signed second right DNS:localhost,IP:127.0.0.1 -days 2
	signed client right DNS:client.test,email:me@client.test -days 2
	signed other right DNS:other.test -days 2
	signed stranger wrong DNS:client.test -days 2
	signed expired right DNS:client.test -days -1
	signed revoked right DNS:client.test -days 2
	openssl req -x509 -new -key "$dir/client.key" -subj /CN=self -days 2 -out "$dir/self.pem" \
		-addext subjectAltName=DNS:client.test
	cp "$dir/client.key" "$dir/self.key"
} 2>"$dir/err" || {
	sed 's/^/# /' "$dir/err"
	echo 'Bail out! No certificates could be made.'
	exit 1
}
cp "$dir/right.pem" "$tls_dir/ca-cert.pem"
install_server server
key=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
echo "alice:$key" >"$dir/keys.psk"
chmod 600 "$dir/keys.psk"

# ---- clients -------------------------------------------------------------------------------------

# Two HELLOs: the first is answered, and the second is a fault that ends the connection.
"$PYTHON" - "$srcdir/tests/vectors/protocol.txt" >"$dir/hello" <<'EOF'
import sys
for line in open(sys.argv[1]):
    if line.startswith("frame hello "):
        sys.stdout.buffer.write(2 * bytes.fromhex(line.split()[2]))
EOF

# dial OPTION...: a handshake, and the HELLOs; true where they are answered.
dial() {
	timeout 60 openssl s_client -connect "$tls" -quiet "$@" \
		<"$dir/hello" >"$dir/out" 2>"$dir/err"
	status=$?
	grep -qa COWR "$dir/out"
}

# as NAME [OPTION...]: with the certificate of that name.
as() {
	local name=$1
	shift
	dial -CAfile "$dir/right.pem" -verify_return_error -cert "$dir/$name.pem" \
		-key "$dir/$name.key" "$@"
}

# psk IDENTITY KEY
psk() {
	dial -psk_identity "$1" -psk "$2"
}

# in_log PATTERN: how many lines of the log.
in_log() {
	grep -c -- "$1" "$dir/log"
}

# waits_for PATTERN COUNT: until there are so many lines of it in the log.
waits_for() {
	[ "$(grep -m "$2" -c -- "$1" < <(tail -n +1 -f --pid="$daemon" "$dir/log"))" -eq "$2" ]
}

# let_in TITLE COMMAND...
let_in() {
	local title=$1
	shift
	check "$title is let in" "$@"
}

# refused TITLE REASON COMMAND...: there is no answer, and one more line with the reason.
refused() {
	local title=$1 reason=$2 before
	shift 2
	before=$(in_log event=tls-refused)
	! "$@" && waits_for event=tls-refused $((before + 1)) &&
		grep event=tls-refused "$dir/log" | tail -1 | grep -q -- "client=\"127.0.0.1:[0-9]*\" reason=\".*$reason" &&
		[ "$(in_log event=tls-refused)" -eq $((before + 1)) ]
	result $? "$title is refused, and the log says why"
	grep event=tls-refused "$dir/log" | tail -1 | sed 's/^/# /'
}

start_tls() {
	start_daemon --listen tls:127.0.0.1:0 "$@"
}

# ---- who is let in -------------------------------------------------------------------------------

start_tls --size 64M --tls-certificates "$tls_dir"
let_in 'a client of the CA' as client
let_in 'another one' as other
refused 'a client without a certificate' 'has no certificate' dial -CAfile "$dir/right.pem"
refused 'a client of another CA' 'certificate is refused' as stranger
refused 'a certificate that has expired' 'expired' as expired
refused 'a self-signed certificate' 'self-signed' as self
refused 'TLS 1.2' 'version\|protocol' as client -tls1_2
refused 'what is no TLS' 'does not speak TLS' bash -c "
	exec 3<>/dev/tcp/${tls/:/\/} && cat '$dir/hello' >&3 && cat <&3 | grep -q COWR"
before=$(in_log 'the client speaks TLS')
tls_kept=$tls tls=$tcp
as client
tls=$tls_kept
check 'TLS where it is not spoken is not answered' [ "$status" -ne 0 ]
check 'and the log says what it was' waits_for 'the client speaks TLS' $((before + 1))
check 'no early data, no ticket' bash -c "! grep -qi 'ticket' <(timeout 60 openssl s_client \
	-connect $tls -CAfile '$dir/right.pem' -cert '$dir/client.pem' -key '$dir/client.key' \
	-ign_eof <'$dir/hello' 2>&1)"
good 'the daemon serves on' cowctl ping

# libcow and cowctl.
# client_dir NAME: a directory of a client with that certificate.
client_dir() {
	mkdir "$dir/as-$1" && cp "$dir/right.pem" "$dir/as-$1/ca-cert.pem" &&
		cp "$dir/$1.pem" "$dir/as-$1/client-cert.pem" &&
		install -m 600 "$dir/$1.key" "$dir/as-$1/client-key.pem"
}
client_dir client && client_dir stranger && client_dir expired
at=cows://localhost:${tls##*:}
uri="$at/?tls-certificates=$dir/as-client"
good 'cowctl is let in' cowctl -u "$uri" ping
bad 'with a certificate of another CA it is refused' 6 cowctl -u "$at/?tls-certificates=$dir/as-stranger" ping
bad 'one that has expired is not even used,' 64 cowctl -u "$at/?tls-certificates=$dir/as-expired" ping
bad 'a server of another name is refused' 6 cowctl -u "$uri&tls-hostname=other.test" ping

# ---- reading again -------------------------------------------------------------------------------

# served_by NAME: this certificate is shown.
served_by() {
	timeout 60 openssl s_client -connect "$tls" -CAfile "$dir/right.pem" -cert "$dir/client.pem" \
		-key "$dir/client.key" -ign_eof <"$dir/hello" 2>&1 | grep -q "subject=CN = $1"
}

reads=0 kept=0
# reloads: the files are read, and used.
reloads() {
	reads=$((reads + 1))
	kill -HUP "$daemon" && waits_for event=credentials-read $reads
}

# keeps FILE: they are read, and the log says which file cannot be used.
keeps() {
	kept=$((kept + 1))
	kill -HUP "$daemon" && waits_for event=credentials-kept $kept &&
		grep event=credentials-kept "$dir/log" | tail -1 | grep -q "$1"
}

# A connection that is there all the time: it stays, whatever is read meanwhile.
mkfifo "$dir/line" "$dir/answers"
timeout 300 openssl s_client -connect "$tls" -CAfile "$dir/right.pem" -cert "$dir/client.pem" \
	-key "$dir/client.key" -quiet <"$dir/line" >"$dir/answers" 2>/dev/null &
stays=$!
exec 8>"$dir/line" 7<"$dir/answers"
half=$(($(wc -c <"$dir/hello") / 2))
head -c "$half" "$dir/hello" >&8
check 'a connection that stays' [ "$(head -c 4 <&7)" = COWR ]

check 'the server shows its certificate' served_by server
install_server second
check 'until it has read another' served_by server
check 'a reload reads it' reloads
check 'and it is shown' served_by second
echo broken >"$tls_dir/server-cert.pem"
check 'a broken certificate is named' keeps server-cert.pem
check 'and the one before is shown' served_by second
cp "$dir/second.pem" "$tls_dir/server-cert.pem"
cp "$dir/server.key" "$tls_dir/server-key.pem"
check 'a key of another certificate is named' keeps server-key.pem
rm "$tls_dir/server-key.pem"
check 'a missing key is named' keeps server-key.pem
check 'and the certificate before is shown' served_by second
install_server server
mv "$tls_dir/ca-cert.pem" "$dir/ca-aside"
check 'a missing CA is named' keeps ca-cert.pem
mv "$dir/ca-aside" "$tls_dir/ca-cert.pem"
let_in 'a client, before a list of what is revoked,' as revoked
printf '%s\n' '[ca]' 'default_ca=d' '[d]' "database=$dir/index" 'default_md=sha256' \
	'default_crl_days=1' >"$dir/ca.conf"
: >"$dir/index"
openssl ca -config "$dir/ca.conf" -keyfile "$dir/right.key" -cert "$dir/right.pem" \
	-revoke "$dir/revoked.pem" 2>/dev/null
openssl ca -config "$dir/ca.conf" -keyfile "$dir/right.key" -cert "$dir/right.pem" -gencrl \
	-out "$tls_dir/ca-crl.pem" 2>/dev/null
check 'a list of what is revoked is read' reloads
check 'with the certificate' served_by server
refused 'a certificate that is revoked' 'revoked' as revoked
let_in 'one that is not' as client

# Connections break neither while the files are read nor when they are others.
head -c 20000000 /dev/urandom >"$dir/data"
copies=()
for i in 1 2 3; do
	"$COWCTL" -q -u "$uri" cp "$dir/data" "load$i" >>"$dir/load" 2>&1 </dev/null &
	copies+=($!)
done
changed=0
for i in second server second server second server; do
	install_server $i
	reloads || changed=1
done
check 'the files are read again and again under load' [ $changed -eq 0 ]
broken=0
for i in "${copies[@]}"; do wait "$i" || broken=1; done
check 'no copy breaks' [ $broken -eq 0 ]
for i in 1 2 3; do
	cowctl -u "$uri" cat "load$i" >"$dir/back" 2>>"$dir/load"
	check 'what was copied is there' cmp -s "$dir/data" "$dir/back"
done

tail -c "$half" "$dir/hello" >&8
exec 8>&-
check 'a connection from before is answered, and ends as it should' grep -qa COWR <&7
exec 7<&-
wait $stays
check 'the daemon stops' stop_daemon

# ---- names, keys ---------------------------------------------------------------------------------

# A service manager: a line for each message, until the server says that it stops, or the test that it
# has.
cat >"$dir/manager.py" <<'EOF'
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
said = "bound"
while True:
    print(said.replace("\n", " "), flush=True)
    if said in ("STOPPING=1", "over"):
        break
    said = s.recv(4096).decode()
EOF
exec 5< <("$PYTHON" "$dir/manager.py" "$dir/notify")
manager=$!
trap 'kill "$manager" 2>/dev/null; end' EXIT
read -r -u 5 line
check 'a service manager' [ "$line" = bound ]
export NOTIFY_SOCKET=$dir/notify
start_tls --tls-certificates "$tls_dir" --tls-psk "$dir/keys.psk" --tls-allow me@client.test \
	--tls-allow alice --log debug
let_in 'a client by one of its names' as client
refused 'a client of another name' "other.test' is not allowed" as other
let_in 'a client by its key' psk alice $key
refused 'a wrong key' 'key of the identity is wrong' psk alice "${key/0/1}"
refused 'an identity that is not known' "identity 'carol' is unknown" psk carol $key
good 'cowctl with a key' cowctl -u "cows://alice@localhost:${tls##*:}/?tls-psk-file=$dir/keys.psk" ping
check 'the log names who it is by the key' grep -q "event=session client=\"127.0.0.1:[0-9]* 'alice'" "$dir/log"
check 'and by the certificate' grep -q "event=session client=\"127.0.0.1:[0-9]* 'me@client.test'" "$dir/log"
echo "bob:$key" >>"$dir/keys.psk"
reads=0 kept=0
: >"$dir/log"
check 'a reload reads the keys' reloads
refused 'an identity that is not allowed' "bob' is not allowed" psk bob $key
chmod 644 "$dir/keys.psk"
check 'keys that others can read are not read' keeps keys.psk
let_in 'who was let in before' psk alice $key
check 'the daemon stops' stop_daemon
unset NOTIFY_SOCKET
"$PYTHON" - "$dir/notify" <<'EOF' 2>/dev/null # it listens no more, if all went well
import socket, sys
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"over", sys.argv[1])
EOF
mapfile -t lines <&5
exec 5<&-
check 'the manager is told that it is ready' [ "${lines[0]}" = READY=1 ]
check 'that it reads files again' [ "${lines[1]%%MONO*}" = 'RELOADING=1 ' ]
check 'since when' [ "${lines[1]##*USEC=}" -gt 0 ]
check 'that it is ready again' [ "${lines[2]}" = READY=1 ]
check 'also where they could not be used' [ "${lines[*]:3}" = "RELOADING=1 MONOTONIC_USEC=${lines[3]##*=} READY=1 STOPPING=1" ]

# ---- what cannot be ------------------------------------------------------------------------------

bad 'keys that others can read, at the start' 6 "$COWD" --store "$store" --listen tls:127.0.0.1:0 \
	--tls-psk "$dir/keys.psk"
says 'the file is named' keys.psk
bad 'a directory without certificates' 1 "$COWD" --store "$store" --listen tls:127.0.0.1:0 \
	--tls-certificates "$dir"
says 'the file is named' ca-cert.pem
chmod 600 "$dir/keys.psk"
# far OPTION...: a daemon whose NBD is not of this machine; it does not come to listen.
far() {
	run "$COWD" --store "$store" --listen "unix:$dir/other" --nbd tcp:192.0.2.1:0 "$@"
}
far
check 'NBD in plain text beyond this machine is refused' [ "$status" = 6 ]
says 'what it needs is named' --insecure-plaintext
far --tls-psk "$dir/keys.psk"
check 'also where TLS is offered' [ "$status" = 6 ]
far --tls-psk "$dir/keys.psk" --nbd-tls require
check 'and not where it is required' [ "$status" = 1 ]
says 'were the address one of this machine' 'cannot listen on tcp:192.0.2.1:0'
bad 'TLS without credentials' 64 "$COWD" --store "$store" --listen tls:127.0.0.1:0
start_daemon
kill -HUP "$daemon"
check 'without TLS there is nothing to read' waits_for event=reload 1
good 'and the daemon serves on' cowctl ping
check 'the daemon stops' stop_daemon
finish
