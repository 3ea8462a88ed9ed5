/*
 * Runs openssl.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tls_kit.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "

/* sign NAME CA EXTENSION: a certificate of NAME by CA. */
static const char script[] =
    "set -e; umask 077; cd \"$1\"; exec 2>/dev/null\n"
    "authority() { openssl req -x509 " KEY "-keyout $1.key -out $1.pem -subj /CN=$1 -days 2; }\n"
    "sign() {\n"
    "  openssl req " KEY "-keyout $1.key -out $1.csr -subj /CN=$1\n"
    "  printf '%s\\n' \"$3\" > $1.ext\n"
    "  openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -out $1.pem -days 2 "
    "-extfile $1.ext\n"
    "}\n"
    "authority ca; authority wrongca\n"
    "sign server ca subjectAltName=IP:127.0.0.1\n"
    "sign other ca subjectAltName=DNS:other.example\n"
    "sign client ca extendedKeyUsage=clientAuth\n"
    "sign stranger wrongca extendedKeyUsage=clientAuth\n";

bool tls_kit_make(const char *folder)
{
    char command[4096];
    (void)snprintf(command, sizeof command, "sh -s -- '%s'", folder);
    FILE *shell = popen(command, "w");
    if (shell == NULL) {
        return false;
    }
    (void)fputs(script, shell);
    return pclose(shell) == 0;
}
