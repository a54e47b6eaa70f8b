/* The load: keep-alive connections to a receiver on this machine, one request out on each, all of them built before.

   load HOST PORT FILE CONNECTIONS WARM_UP_SECONDS SECONDS RATE

   FILE holds requests, each behind its length as a 32-bit number. With RATE 0 a connection sends again as soon as it is
   answered. Otherwise RATE requests a second are due, and a latency counts from when its request was due, sent or not: a
   receiver that stalls cannot hide it. The warm-up goes before, as fast as it is answered, and is not measured; then
   "measuring" is printed, and in the end what came back, as JSON. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 1000, MOST_SECONDS = 120, ANSWER_S = 15, ROOM_BYTES = 4096 };
#define NS 1000000000LL

struct request { const char *bytes; uint32_t length; int status; };
struct connection { int fd, request; int64_t due_ns; size_t held_bytes; char held[ROOM_BYTES]; };

static struct request *requests;
static int request_count, next_request;
static struct connection connections[MOST_CONNECTIONS];
static struct connection *idle[MOST_CONNECTIONS];
static int idle_count, out_count, lost_count, poll_fd;
static int64_t *latencies_ns;
static int latency_count;

static void fail(const char *what, const char *why) {
    fprintf(stderr, "load: %s: %s\n", what, why);
    exit(2);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS + now.tv_nsec;
}

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static uint32_t length_at(const char *at) {
    uint32_t length;
    memcpy(&length, at, sizeof length);
    return length;
}

static void read_requests(const char *file) {
    struct stat told;
    int fd = open(file, O_RDONLY);
    if (fd < 0 || fstat(fd, &told) || !told.st_size) fail(file, "cannot be read, or is empty");
    const char *at = mmap(NULL, told.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (at == MAP_FAILED) fail(file, strerror(errno));
    const char *end = at + told.st_size;
    for (const char *each = at; each < end; each += 4 + length_at(each)) request_count++;
    requests = calloc(request_count, sizeof *requests);
    latencies_ns = calloc(request_count, sizeof *latencies_ns);
    for (int number = 0; number < request_count; number++) {
        requests[number].length = length_at(at);
        requests[number].bytes = at + 4;
        at += 4 + requests[number].length;
    }
}

static void open_connections(const char *host, int port, int count) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || ntohl(address.sin_addr.s_addr) >> 24 != 127)
        fail(host, "the load goes to this machine's loopback address alone");
    poll_fd = epoll_create1(0);
    for (int number = 0; number < count; number++) {
        struct connection *each = &connections[number];
        each->fd = socket(AF_INET, SOCK_STREAM, 0);
        int on = 1;
        setsockopt(each->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (connect(each->fd, (struct sockaddr *)&address, sizeof address)) fail(host, strerror(errno));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = each};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, each->fd, &event);
        each->request = -1;
        idle[idle_count++] = each;
    }
}

static void drop(struct connection *each) {
    close(each->fd);
    if (each->request >= 0) {
        lost_count++;
        out_count--;
        return;
    }
    for (int place = 0; place < idle_count; place++)
        if (idle[place] == each) idle[place--] = idle[--idle_count];
}

static void send_next(struct connection *each, int64_t due_ns) {
    struct request *request = &requests[next_request];
    each->request = next_request++;
    each->due_ns = due_ns;
    out_count++;
    if (send(each->fd, request->bytes, request->length, MSG_NOSIGNAL) != (ssize_t)request->length) drop(each);
}

/* What has come: 0, not a whole answer yet; -1, the connection's end, or no answer that we can read; else its status. */
static int take(struct connection *each) {
    ssize_t came = recv(each->fd, each->held + each->held_bytes, ROOM_BYTES - 1 - each->held_bytes, MSG_DONTWAIT);
    if (came < 0 && errno == EAGAIN) return 0;
    if (came <= 0) return -1;
    each->held_bytes += came;
    each->held[each->held_bytes] = 0;
    const char *head_end = strstr(each->held, "\r\n\r\n");
    if (!head_end) return 0;
    const char *length = strcasestr(each->held, "\r\ncontent-length:");
    if (!length || length > head_end) return -1;
    if (head_end + 4 + atoi(length + 17) > each->held + each->held_bytes) return 0;
    each->held_bytes = 0;
    int status = atoi(each->held + 9);
    return status < 100 || status > 599 ? -1 : status;
}

static void answered(struct connection *each) {
    int status = take(each);
    if (!status) return;
    if (status < 0 || each->request < 0) {
        drop(each);
        return;
    }
    requests[each->request].status = status;
    if (status == 200) latencies_ns[latency_count++] = now_ns() - each->due_ns;
    each->request = -1;
    out_count--;
    idle[idle_count++] = each;
}

/* Send until the time is over or request `upto` would be next, and take the last answers. */
static void drive(double seconds, double rate, int upto) {
    int64_t began_ns = now_ns(), until_ns = began_ns + (int64_t)(seconds * NS), heard_ns = began_ns;
    int first = next_request;
    struct epoll_event events[MOST_CONNECTIONS];
    for (;;) {
        int64_t now = now_ns(), due_ns = now;
        int more = now < until_ns;
        while (more && idle_count && next_request < upto) {
            if (rate) due_ns = began_ns + (int64_t)((next_request - first) / rate * NS);
            if (due_ns > now) break;
            send_next(idle[--idle_count], due_ns);
        }
        more = more && idle_count && next_request < upto;
        if ((!more && !out_count) || now - heard_ns > ANSWER_S * NS) return;
        int64_t wait_ns = more ? due_ns - now : ANSWER_S * NS;
        struct timespec wait = {.tv_sec = wait_ns / NS, .tv_nsec = wait_ns % NS};
        int ready = epoll_pwait2(poll_fd, events, MOST_CONNECTIONS, &wait, NULL);
        if (ready > 0 || !out_count) heard_ns = now_ns();
        for (int number = 0; number < ready; number++) answered(events[number].data.ptr);
    }
}

static int by_size(const void *one, const void *other) {
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

static void report(double took_s, double took_cpu_s) {
    qsort(latencies_ns, latency_count, sizeof *latencies_ns, by_size);
    int others[600] = {0};
    int64_t none = 0, *sorted = latency_count ? latencies_ns : &none;
    int last = latency_count ? latency_count - 1 : 0;
    printf("{\"events_per_s\": %f, \"p50_ms\": %f, \"p99_ms\": %f, \"worst_ms\": %f, ", latency_count / took_s,
           sorted[latency_count / 2] / 1e6, sorted[(int)(latency_count * 0.99)] / 1e6, sorted[last] / 1e6);
    printf("\"busy\": %f, \"unanswered\": %d, \"accepted\": [", took_cpu_s / took_s, lost_count + out_count);
    const char *comma = "";
    for (int number = 0; number < next_request; number++) {
        int status = requests[number].status;
        if (status == 200) {
            printf("%s%d", comma, number);
            comma = ", ";
        } else {
            others[status]++;
        }
    }
    printf("], \"other_statuses\": {");
    comma = "";
    for (int status = 100; status < 600; status++) {
        if (!others[status]) continue;
        printf("%s\"%d\": %d", comma, status, others[status]);
        comma = ", ";
    }
    printf("}}\n");
}

int main(int count, char **words) {
    if (count != 8) fail("usage", "load HOST PORT FILE CONNECTIONS WARM_UP_SECONDS SECONDS RATE");
    int connection_count = atoi(words[4]);
    double warm_up_s = atof(words[5]), seconds = atof(words[6]), rate = atof(words[7]);
    if (connection_count < 1 || connection_count > MOST_CONNECTIONS) fail(words[4], "1 to 1000 connections");
    if (!(warm_up_s >= 0) || !(seconds > 0) || warm_up_s + seconds > MOST_SECONDS || !(rate >= 0))
        fail("usage", "0 to 120 seconds, no rate below 0");
    read_requests(words[3]);
    open_connections(words[1], atoi(words[2]), connection_count);
    drive(warm_up_s, 0, request_count / 4);
    latency_count = 0;
    printf("measuring\n");
    fflush(stdout);
    double began_s = now_ns() / 1e9, began_cpu_s = cpu_s();
    drive(seconds, rate, request_count);
    report(now_ns() / 1e9 - began_s, cpu_s() - began_cpu_s);
    return 0;
}
