/* Certificates for tests: an authority and leaves signed by it, as PEM files. */
#ifndef BW_CERTIFICATES_H
#define BW_CERTIFICATES_H

typedef struct test_authority test_authority;

/* Writes `directory`/`name`.pem. */
test_authority *test_authority_new(const char *directory, const char *name);
void test_authority_free(test_authority *authority);

/* Writes `directory`/`name`.pem and `directory`/`name`.key: a certificate for the DNS name `host`, valid
 * from now + from_s to now + to_s. */
void test_authority_issue(test_authority *authority, const char *name, const char *host, long from_s,
                          long to_s);

#endif
