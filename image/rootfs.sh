#!/bin/sh
# Puts together what the image holds, and nothing else: the stripped binary, the libraries that it names, the authorities' certificates,
# a user, and sleep for clusters that need a preStop. The Containerfile and its test run the same script.
#   image/rootfs.sh BINARY DIRECTORY
set -eu
binary=$1
root=$2

mkdir -p "$root/usr/local/bin" "$root/bin" "$root/etc/ssl/certs" "$root/run/neverstale"
cp "$binary" "$root/usr/local/bin/neverstale"
strip "$root/usr/local/bin/neverstale"
cp -L /bin/sleep "$root/bin/sleep"

# The loader and the libraries, each where the loader looks for it. Names are resolved by glibc itself, without modules.
for program in "$root/usr/local/bin/neverstale" "$root/bin/sleep"; do
    ldd "$program" | grep -o '/[^ ]*\.so[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
done

cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
# Group 0, so that an application that runs as root without capabilities, or OpenShift's any UID, can open the socket.
echo 'neverstale:x:65532:0::/:/nonexistent' > "$root/etc/passwd"
echo 'root:x:0:' > "$root/etc/group"
chmod -R g=u "$root"

# The same bytes from the same sources.
find "$root" -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH:-0}" {} +
