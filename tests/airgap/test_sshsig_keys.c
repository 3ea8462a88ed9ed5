/*
 * SSHSIGs by every type of key: what is right is verified, and whatever a forger may change is
 * refused. Keys are the test's own, made afresh.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <stdio.h>

#include "failing_alloc.h"
#include "ssh_kit.h"

#define NAME_SPACE "quipu-bundle@v1"
#define TYPES      (QUIPU_SSH_KEY_SK_ECDSA_P256 + 1)

static struct quipu_slice message(void)
{
    return quipu_slice_text("the manifest");
}

static enum quipu_status verify(struct quipu_slice blob, struct quipu_error *err)
{
    return quipu_sshsig_verify(blob, NAME_SPACE, message(), NULL, err);
}

Test(sshsig_keys, every_type_verifies_and_is_written_again_as_it_was)
{
    for (int type = 0; type < TYPES; type++) {
        struct ssh_kit kit;
        struct quipu_sshsig found;
        struct quipu_error err;
        struct quipu_buf blob = QUIPU_BUF_INIT;
        struct quipu_buf again = QUIPU_BUF_INIT;
        enum quipu_ssh_key_type read = QUIPU_SSH_KEY_ED25519;
        ssh_kit_init(&kit, (enum quipu_ssh_key_type)type);
        ssh_kit_sign(&kit, NAME_SPACE, message(), &blob);

        cr_assert_eq(
            quipu_sshsig_verify(quipu_buf_slice(&blob), NAME_SPACE, message(), &found, &err),
            QUIPU_OK, "type %d: %s", type, err.message);
        cr_assert_eq(found.type, (enum quipu_ssh_key_type)type);
        cr_assert(quipu_slice_equal(found.key, quipu_buf_slice(&kit.key)));
        cr_assert_eq(quipu_ssh_key_read(found.key, &read, &err), QUIPU_OK);
        cr_assert_eq(read, found.type);
        quipu_sshsig_encode(&found, &again);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&blob), quipu_buf_slice(&again)));
        cr_assert_eq(quipu_sshsig_verify(quipu_buf_slice(&blob), NAME_SPACE,
                                         quipu_slice_text("another"), NULL, NULL),
                     QUIPU_BAD_SIGNATURE);
        cr_assert_eq(ERR_peek_error(), 0u, "libcrypto's list of errors is the host's");

        quipu_buf_release(&blob);
        quipu_buf_release(&again);
        ssh_kit_release(&kit);
    }
}

Test(sshsig_keys, one_flipped_bit_anywhere_is_refused, .timeout = 300)
{
    for (int type = 0; type < TYPES; type++) {
        struct ssh_kit kit;
        struct quipu_buf blob = QUIPU_BUF_INIT;
        ssh_kit_init(&kit, (enum quipu_ssh_key_type)type);
        ssh_kit_sign(&kit, NAME_SPACE, message(), &blob);

        for (size_t bit = 0; bit < blob.len * 8; bit++) {
            blob.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            enum quipu_status status = verify(quipu_buf_slice(&blob), NULL);
            cr_assert(status == QUIPU_BAD_SIGNATURE || status == QUIPU_FORMAT_NEWER,
                      "type %d, bit %zu: %s", type, bit, quipu_status_name(status));
            blob.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        cr_assert_eq(verify(quipu_buf_slice(&blob), NULL), QUIPU_OK);

        quipu_buf_release(&blob);
        ssh_kit_release(&kit);
    }
}

Test(sshsig_keys, every_cut_and_every_byte_more_is_refused)
{
    for (int type = 0; type < TYPES; type++) {
        struct ssh_kit kit;
        struct quipu_sshsig out;
        struct quipu_buf blob = QUIPU_BUF_INIT;
        ssh_kit_init(&kit, (enum quipu_ssh_key_type)type);
        ssh_kit_sign(&kit, NAME_SPACE, message(), &blob);

        for (size_t len = 0; len < blob.len; len++) {
            cr_assert_eq(quipu_sshsig_decode(quipu_slice(blob.data, len), &out, NULL),
                         QUIPU_BAD_SIGNATURE, "type %d, %zu bytes", type, len);
        }
        quipu_buf_append_byte(&blob, 0);
        cr_assert_eq(quipu_sshsig_decode(quipu_buf_slice(&blob), &out, NULL), QUIPU_BAD_SIGNATURE);

        quipu_buf_release(&blob);
        ssh_kit_release(&kit);
    }
}

Test(sshsig_keys, failing_memory_is_told_and_leaks_nothing)
{
    for (int type = 0; type < TYPES; type++) {
        struct ssh_kit kit;
        struct quipu_buf blob = QUIPU_BUF_INIT;
        size_t failed = 0;
        ssh_kit_init(&kit, (enum quipu_ssh_key_type)type);
        ssh_kit_sign(&kit, NAME_SPACE, message(), &blob);
        for (;; failed++) {
            failing_alloc_arm(failed);
            enum quipu_status status = verify(quipu_buf_slice(&blob), NULL);
            failing_alloc_disarm();
            if (status == QUIPU_OK) {
                break;
            }
            cr_assert_eq(status, QUIPU_NO_MEMORY);
        }
        cr_assert_gt(failed, 0u);
        quipu_buf_release(&blob);
        ssh_kit_release(&kit);
    }
}

/* ------------------------------------------------------------------ signed, and refused all the
 * same */

static enum quipu_status verdict_of(const struct ssh_kit *kit, struct quipu_error *err)
{
    struct quipu_buf blob = QUIPU_BUF_INIT;
    ssh_kit_sign(kit, NAME_SPACE, message(), &blob);
    enum quipu_status status = verify(quipu_buf_slice(&blob), err);
    quipu_buf_release(&blob);
    return status;
}

Test(sshsig_keys, a_hardware_key_must_say_that_its_holder_was_there)
{
    static const struct {
        uint8_t flags;
        enum quipu_status expected;
    } cases[] = {
        {0x00, QUIPU_BAD_SIGNATURE},
        {0x04, QUIPU_BAD_SIGNATURE},
        {0xfe, QUIPU_BAD_SIGNATURE},
        {0x01, QUIPU_OK},
        {0x05, QUIPU_OK},
    };
    for (int type = QUIPU_SSH_KEY_SK_ED25519; type < TYPES; type++) {
        struct ssh_kit kit;
        struct quipu_error err;
        ssh_kit_init(&kit, (enum quipu_ssh_key_type)type);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            kit.flags = cases[i].flags;
            kit.counter = UINT32_MAX - (uint32_t)i;
            cr_assert_eq(verdict_of(&kit, &err), cases[i].expected, "flags %02x: %s", kit.flags,
                         err.message);
            cr_assert(cases[i].expected == QUIPU_OK || strstr(err.message, "touch") != NULL, "%s",
                      err.message);
        }
        ssh_kit_release(&kit);
    }
}

Test(sshsig_keys, rsa_by_sha1_or_with_few_bits_is_refused)
{
    struct ssh_kit kit;
    struct quipu_error err;
    ssh_kit_init(&kit, QUIPU_SSH_KEY_RSA);
    kit.algorithm = "ssh-rsa";
    kit.digest = "SHA1";
    cr_assert_eq(verdict_of(&kit, &err), QUIPU_BAD_SIGNATURE);
    cr_assert_not_null(strstr(err.message, "rsa-sha2"), "%s", err.message);
    kit.algorithm = "rsa-sha2-512"; /* a lie */
    cr_assert_eq(verdict_of(&kit, &err), QUIPU_BAD_SIGNATURE);
    kit.algorithm = "rsa-sha2-256";
    kit.digest = "SHA256";
    cr_assert_eq(verdict_of(&kit, &err), QUIPU_OK, "%s", err.message);
    ssh_kit_release(&kit);

    static const struct {
        unsigned bits;
        enum quipu_status expected;
    } sizes[] = {{1024, QUIPU_BAD_SIGNATURE}, {2040, QUIPU_BAD_SIGNATURE}, {2056, QUIPU_OK}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ssh_kit_init_rsa(&kit, sizes[i].bits);
        cr_assert_eq(verdict_of(&kit, &err), sizes[i].expected, "%u bits: %s", sizes[i].bits,
                     err.message);
        ssh_kit_release(&kit);
    }
}

/* A key of 8,192 bits takes half a minute to make, so this signature was made once, by
 * ssh-keygen 9.2; its key was thrown away. */
static const char by_rsa_8192[] =
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAABBcAAAAHc3NoLXJzYQAAAAMBAAEAAAQBALtYXlFxaH2Wpc5SuLDnRc\n"
    "Wna6JvYdoqBm8Nahd2S237xGWf/o8Y8ybIcIxUfZ4tCaPBlbpQbQkdik+gjsgTBymfUrQm\n"
    "dv8cAt0JowS2BYVVpGLbf8F+RwyHKywMV/vFyM7B2BmdlM7MOrbN8EEc6YRmmgj5ztWza4\n"
    "KvTUGNtNyVj6kfh1ARQVA8v1cVAL1FJ8OPaSV5LBcc9XLeDCvtt4McYhIxHghlBjv6vGI/\n"
    "VaB8AklfTP8puJ4PTzJprPdMI92WWskjU6EFGFsagjkqQPkXBIEEfogOx5OZ+VRk2WYWKs\n"
    "kXrt1U6hsW3L8tztF02lPM8urPd3oxdZh9CTR3caA2Ffq9BvsTK3co1IjOQMg0IuLqcBep\n"
    "bWn0x5BuXeycbnuEhN/isZO6DgPSd4OB7ALH1GzStwmeWg+lPNYznL8WLcMhzj6BR0NKh4\n"
    "9iO2qEQlzhOwk1slRU0Kus7Sqi7Ysii/W1fr4ZNVRppIV41MsLo+XWkeHB7GQ5co/59t9e\n"
    "wjhRyjWbeAK3Lesj45qg/zouZjBVPmG0k7xT953g+fF+KrQ2ZO/UO1SGaxKOXx6FQyVRpH\n"
    "29AntTEEga7kwb8L9bfS+/nPc3W1f8MbfDaujb/7t+r8VTdSI/OP+/H6nRO+/1NNxpZlP2\n"
    "TqPzBWUoeZ15YepakIfKC0VkMNHjv2MYHdS+NXmGp+yJcjjyXmzav4AoDDJug51An4DFr3\n"
    "L351NfzlL6/keMjkxVfBeoNPBmhUpxNcA06LWVzFT3Qc962uNaAqDOalpGUVoSpiptZX4A\n"
    "ytz+TP5QeHAZ8z8nFUDEb976I0ixQIDM/TW52IbGsglYSf5eiseEeoib3NhTWyeLaOLDB/\n"
    "IFC58kC5TUDzmu+QqcNuXYWTHgqSXM+WCSW6hKYAEB6Vek/qeMTdyxpPKaiqaHEuCHLOW/\n"
    "PU50na1GdJ6hQM7T8A3mzjZI9pf5TVTk76dvrhujPQ8cX5F6v7vR18DvS+ogUnUhWi5DZu\n"
    "dKR65N08sAJecmrltmdIQsNFmayPau345deyQXc3xOcE7g6p/2RXYInE6bhXDFYsF4z0fy\n"
    "Q5nGhmvoG8dpoqsnK4JgZloobooMANxZEjRHXWrbwK0aflTthhzbrorNM+5Z0c+14mekum\n"
    "DZfvNw6yiBFyxC/RDrXLgB6ey+43eV3uNCBHcOiQvyWJk0fB72rVq9dNaD25LhfErCooy8\n"
    "/hZC4WVhmYTHWYgwhfI1p35sJ1qHTgbRtiS9zefvOA72K0vzOmErYgY1YHTGZf+IKtMN25\n"
    "K9UF5nBnWse1CdqvWQP55izDdcwPRtLicTUJ33FzFNjt4zugY/og0+TFggAU/DNkESc96l\n"
    "9WfSIAFZnFRSbR0AAAAPcXVpcHUtYnVuZGxlQHYxAAAAAAAAAAZzaGE1MTIAAAQUAAAADH\n"
    "JzYS1zaGEyLTUxMgAABAB9KAVXrmwZXQA1S8uv8Dghy6xQUYQOWe8jhgi/k1hTgQhbtDP8\n"
    "Z31ifnhj1dxImwou6HLYC5mw2R4iSrarg/2mrP0mR+rTqykouyM71kVnEd5Bfu726DkqBl\n"
    "k7Km/YQu32lsMRRvI0vPVMRzCVWOrof4lniSyX76h+q+eejfJWvtk/PkQQpdJVMoOHiE1t\n"
    "FGYgUaXn1BQZXTkzHnrxmAmCgvZQqomAn1dh6hWHSFs0vRkZmQM/ctYOriQpkcRsqcdWTJ\n"
    "+y0xSfIZfABZ+mjSyDbAJEjX2r4LkaQTdDi3GFDMdnqz03e14U/ch/BXgFa57Ir3Q6yvVG\n"
    "rBLWviGzyJF31OY6jReBKwsyvAvgqbnBZBgZZ3R6d7/4SWIfpY1+hUF3BnG6kCRx0u1lqy\n"
    "O987YNOg8BNZScCtP74IlQcOX4izxQ+iqUGmt0Nu/o10NLSM77l64b3lrDgiPZrX09zsBk\n"
    "MwjdgMQWmFKcID/emcCq1wmeCoWUT4NF+WqqcKGFTUw/uqABIqj/5Nqseevf30wOeQ+fzT\n"
    "ZJ5w4Ktz64T6uj7QYaOYjf1NockQioLjlmO2e+3G7sMJ7CeAPSO4CBriNE33j2qbfTtqa/\n"
    "04CZ53xrWezvHsD3LTA/WN9EPIYxYoBgRXeWvwWod5HuFRt4hDyExcH2CQI/fwidgWC+p9\n"
    "cEhsq6plNargdqypyn7fkVTfTt3TJXLumfLDhACER0krVJNrlv8deryxPW7O88r/iFhayj\n"
    "gCIg40YHqcuBYXer5rpWxGcZbsH7rG3UpXy9XRCm9a+psH0mz+Nr5oVeJgJvJ38fDgECG1\n"
    "EoGPHdyiqpGXdepXJv5XgUl/rNPQ2L00EVY/eR+NrMgKz4TQ8BnVgPmsjpD7zdX+PcKeb3\n"
    "hfZdU+2Y9qUId0DGwJIpW7sYFFbRMCD1Vs7aucH2Z/GCaDKg+XgHmv5nRCiZV0Xa/A1+vX\n"
    "9haSJM3zRiYiLLLWjndl+bDWfrdXBkHHsmRl/GmZSIJ1TgwiRr+6d2GH1rOLywfl7N1X4x\n"
    "kQNXd1qH3vHrUEFgmNiB2lpyRA7dFaTNxLUXx/5XvxrG1yj8V4wiFoQA5F7aYXU2F0CqjK\n"
    "5VOLLTbURZfbF7W0uFhfjCCTVdXqYaitMntCjBgG0eTMKLAaHUu3Fx9ivAl1G49pWX6kT2\n"
    "nmnmSWI1XLCn7T2TXeMenydhiSdvPkwbMGe2BBNmglvfHX27H79KI6rbrjBEDOCgrT6JoL\n"
    "/f/iQbMrgtwklijRrTy3PENlpuwOpZwwwN47FFe7j9yEDxBBcjBkZi51pbSURJrZFtU5kp\n"
    "8+JjVAJ3FknC2J6yIbg4SPz7tBUl9MB5F36S0owAqZam31aGkIs+Aqtf\n"
    "-----END SSH SIGNATURE-----\n";

Test(sshsig_keys, rsa_of_8192_bits_verifies)
{
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_buf again = QUIPU_BUF_INIT;
    struct quipu_sshsig found;
    struct quipu_error err;
    cr_assert_eq(quipu_sshsig_dearmor(quipu_slice_text(by_rsa_8192), &blob, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(quipu_sshsig_verify(quipu_buf_slice(&blob), NAME_SPACE, message(), &found, &err),
                 QUIPU_OK, "%s", err.message);
    cr_assert_eq(found.type, QUIPU_SSH_KEY_RSA);
    cr_assert_gt(found.signature.len, 1024u);
    quipu_sshsig_armor(quipu_buf_slice(&blob), &again);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&again), quipu_slice_text(by_rsa_8192)));
    blob.data[blob.len - 1] ^= 1;
    cr_assert_eq(verify(quipu_buf_slice(&blob), NULL), QUIPU_BAD_SIGNATURE);
    quipu_buf_release(&blob);
    quipu_buf_release(&again);
}

/* No key of so many bits is made here, which would take minutes: its form is enough to be judged.
 */
Test(sshsig_keys, rsa_has_at_most_16384_bits)
{
    static uint8_t modulus[2049];
    memset(modulus, 0xff, sizeof modulus);
    for (size_t bytes = 2047; bytes <= 2049; bytes++) {
        struct quipu_buf key = QUIPU_BUF_INIT;
        struct quipu_error err;
        enum quipu_ssh_key_type type = QUIPU_SSH_KEY_ED25519;
        ssh_kit_string(&key, quipu_slice_text("ssh-rsa"));
        ssh_kit_number(&key, quipu_slice("\1\0\1", 3), 0);
        ssh_kit_number(&key, quipu_slice(modulus, bytes), 0);
        cr_assert_eq(quipu_ssh_key_read(quipu_buf_slice(&key), &type, &err),
                     bytes <= 2048 ? QUIPU_OK : QUIPU_INVALID, "%zu bytes: %s", bytes, err.message);
        quipu_buf_release(&key);
    }
}

Test(sshsig_keys, a_key_has_at_most_4096_bytes)
{
    static uint8_t application[QUIPU_SSH_KEY_BYTES_MAX];
    static const size_t head = 4 + 26 + 4 + 32 + 4;
    for (int more = -1; more <= 1; more++) {
        struct quipu_buf key = QUIPU_BUF_INIT;
        enum quipu_ssh_key_type type = QUIPU_SSH_KEY_ED25519;
        ssh_kit_string(&key, quipu_slice_text("sk-ssh-ed25519@openssh.com"));
        ssh_kit_string(&key, quipu_slice(application, 32));
        ssh_kit_string(&key,
                       quipu_slice(application, QUIPU_SSH_KEY_BYTES_MAX - head + (size_t)more));
        cr_assert_eq(key.len, (size_t)(QUIPU_SSH_KEY_BYTES_MAX + more));
        cr_assert_eq(quipu_ssh_key_read(quipu_buf_slice(&key), &type, NULL),
                     more <= 0 ? QUIPU_OK : QUIPU_INVALID);
        quipu_buf_release(&key);
    }
}

/* ------------------------------------------------------------------ armor */

Test(sshsig_keys, armor_is_read_strictly)
{
    static const struct {
        const char *text;
        bool is_armor;
    } cases[] = {
        {"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n", true},
        {"-----BEGIN SSH SIGNATURE-----\r\nAAAA\r\n-----END SSH SIGNATURE-----\r\n", true},
        {"-----BEGIN SSH SIGNATURE-----\nAA\nAA\n-----END SSH SIGNATURE-----", true},
        {"-----BEGIN SSH SIGNATURE-----\nAAA=\n-----END SSH SIGNATURE-----\n \n", true},
        {"", false},
        {"AAAA\n", false},
        {" -----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n", false},
        {"-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n", false},
        {"-----BEGIN SSH SIGNATURE-----\nAAAA\n", false},
        {"-----BEGIN SSH SIGNATURE-----\nAAAA\n\n-----END SSH SIGNATURE-----\n", false},
        {"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\nx", false},
        {"-----BEGIN SSH SIGNATURE-----\nAAA\n-----END SSH SIGNATURE-----\n", false},
        {"-----BEGIN SSH SIGNATURE-----\nAAB=\n-----END SSH SIGNATURE-----\n", false},
        {"-----BEGIN SSH SIGNATURE-----\nAA A\n-----END SSH SIGNATURE-----\n", false},
        {"-----BEGIN SSH SIGNATURE-----\nA-A_\n-----END SSH SIGNATURE-----\n", false},
        {"-----BEGIN PGP SIGNATURE-----\nAAAA\n-----END PGP SIGNATURE-----\n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_buf out = QUIPU_BUF_INIT;
        cr_assert_eq(quipu_sshsig_dearmor(quipu_slice_text(cases[i].text), &out, NULL),
                     cases[i].is_armor ? QUIPU_OK : QUIPU_BAD_SIGNATURE, "%s", cases[i].text);
        cr_assert_eq(out.len > 0, cases[i].is_armor);
        quipu_buf_release(&out);
    }
}

Test(sshsig_keys, armor_gives_back_what_it_was_made_of)
{
    static uint8_t bytes[QUIPU_SSHSIG_BYTES_MAX];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 31 + i / 256);
    }
    for (size_t len = 1; len <= sizeof bytes; len += len < 200 ? 1 : 997) {
        struct quipu_buf text = QUIPU_BUF_INIT;
        struct quipu_buf out = QUIPU_BUF_INIT;
        quipu_sshsig_armor(quipu_slice(bytes, len), &text);
        cr_assert_eq(quipu_sshsig_dearmor(quipu_buf_slice(&text), &out, NULL), QUIPU_OK);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&out), quipu_slice(bytes, len)));
        quipu_buf_release(&text);
        quipu_buf_release(&out);
    }
}
