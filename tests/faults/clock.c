/* Preloaded: a program's clock, ahead by the seconds that stand in the file of CLOCK (a long). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile long *ahead = MAP_FAILED;

__attribute__((constructor)) static void open_clock(void) {
  const char *path = getenv("CLOCK");
  int file = path ? open(path, O_RDONLY) : -1;
  if (file >= 0) ahead = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
}

static long shift(void) { return ahead == MAP_FAILED ? 0 : *ahead; }

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += shift();
  return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
  int failed = real(now, zone);
  now->tv_sec += shift();
  return failed;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
