#include "certificates.h"

#include "check.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

struct test_authority {
    char directory[512];
    EVP_PKEY *key;
    X509 *certificate;
};

static void extend(X509 *certificate, X509 *issuer, int kind, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    CHECK(extension && X509_add_ext(certificate, extension, -1));
    X509_EXTENSION_free(extension);
}

static X509 *certificate_new(EVP_PKEY *key, const char *common_name, long from_s, long to_s) {
    static long serial = 1;
    X509 *certificate = X509_new();
    CHECK(certificate);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), from_s);
    X509_gmtime_adj(X509_getm_notAfter(certificate), to_s);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)common_name, -1, -1, 0);
    return certificate;
}

static FILE *open_file(const char *directory, const char *name, const char *suffix) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s%s", directory, name, suffix);
    FILE *file = fopen(path, "w");
    CHECK(file);
    return file;
}

static void write_certificate(const char *directory, const char *name, X509 *certificate) {
    FILE *file = open_file(directory, name, ".pem");
    CHECK(PEM_write_X509(file, certificate));
    fclose(file);
}

test_authority *test_authority_new(const char *directory, const char *name) {
    test_authority *authority = calloc(1, sizeof *authority);
    CHECK(authority);
    snprintf(authority->directory, sizeof authority->directory, "%s", directory);
    authority->key = EVP_EC_gen("P-256");
    CHECK(authority->key);
    authority->certificate = certificate_new(authority->key, name, -3600, 3600);
    X509_set_issuer_name(authority->certificate, X509_get_subject_name(authority->certificate));
    extend(authority->certificate, authority->certificate, NID_basic_constraints, "critical,CA:TRUE");
    CHECK(X509_sign(authority->certificate, authority->key, EVP_sha256()));
    write_certificate(directory, name, authority->certificate);
    return authority;
}

void test_authority_free(test_authority *authority) {
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
    free(authority);
}

void test_authority_issue(test_authority *authority, const char *name, const char *host, long from_s,
                          long to_s) {
    char alternative[300];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    CHECK(key);
    X509 *leaf = certificate_new(key, host, from_s, to_s);
    X509_set_issuer_name(leaf, X509_get_subject_name(authority->certificate));
    snprintf(alternative, sizeof alternative, "DNS:%s", host);
    extend(leaf, authority->certificate, NID_subject_alt_name, alternative);
    CHECK(X509_sign(leaf, authority->key, EVP_sha256()));
    write_certificate(authority->directory, name, leaf);
    FILE *file = open_file(authority->directory, name, ".key");
    CHECK(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
    fclose(file);
    X509_free(leaf);
    EVP_PKEY_free(key);
}
