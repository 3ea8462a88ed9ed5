#!/usr/bin/env bash
# Neither an undefined symbol that makes, names or uses a socket, nor a library that we do not mean to
# need. Of the libraries it needs, libcrypto alone has network code in it (its BIOs), and calls none of
# it unasked.
#   no_network.sh FILE
set -euo pipefail
file=$1

network='^(socket|socketpair|connect|bind|listen|accept4?|send(to|msg|mmsg)?|recv(from|msg|mmsg)?|shutdown'
network+='|[gs]etsockopt|getpeername|getsockname|getaddrinfo|getnameinfo|getservby.*|gethostby.*|gethostent'
network+='|getifaddrs|if_nametoindex|inet_.*|res_.*|dn_.*|ns_.*|BIO_.*|SSL_.*|TLS_.*|nats.*|js_.*)$'
needed='^(libquipu\.so\.0|liblmdb\.so\.0|libsodium\.so\.23|libcrypto\.so\.3|libjansson\.so\.4'
needed+='|libsmartcols\.so\.1|libc\.so\.6|libm\.so\.6|ld-linux-.*'
# of the program: settings from TOML files
needed+='|libtomlplusplus\.so\.3|libstdc\+\+\.so\.6|libgcc_s\.so\.1)$'

undefined() {
    nm -D --undefined-only "$1" | awk '{ sub(/@.*/, "", $NF); print $NF }'
}

# A filter that finds nothing anywhere would pass everything.
for name in socket connect getaddrinfo sendto recvmsg gethostbyname_r accept4 natsConnection_Connect; do
    grep -qE "$network" <<<"$name" || {
        echo "the filter misses $name" >&2
        exit 1
    }
done
[ "$(undefined "$file" | wc -l)" -ge 10 ] || {
    echo "no undefined symbols read from $file" >&2
    exit 1
}

if found=$(undefined "$file" | grep -E "$network"); then
    printf '%s uses the network:\n%s\n' "$file" "$found" >&2
    exit 1
fi
if found=$(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE "$needed"); then
    printf '%s needs libraries that it should not:\n%s\n' "$file" "$found" >&2
    exit 1
fi
# And by way of what it needs: neither NATS nor TLS.
if found=$(ldd "$file" | grep -E 'libnats|libssl|libquipu-jetstream'); then
    printf '%s loads:\n%s\n' "$file" "$found" >&2
    exit 1
fi
echo "$file: no network code"
