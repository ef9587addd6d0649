/* Copyright: (c) 2026, senet.firewall contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * udp_loop COUNT PORT: so many questions and answers over loopback; prints the microseconds per packet, sent and received. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

static void or_die(long done, const char *what)
{
    if (done < 0) {
        perror(what);
        exit(1);
    }
}

static void round_trip(int client, int server)
{
    char data[8] = "packet";
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    or_die(send(client, data, sizeof data, 0), "send");
    or_die(recvfrom(server, data, sizeof data, 0, (struct sockaddr *)&from, &size), "recvfrom");
    or_die(sendto(server, data, sizeof data, 0, (struct sockaddr *)&from, size), "sendto");
    or_die(recv(client, data, sizeof data, 0), "recv");
}

int main(int count, char **words)
{
    if (count != 3) {
        fprintf(stderr, "usage: udp_loop COUNT PORT\n");
        return 2;
    }
    int times = atoi(words[1]);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(words[2]))};
    inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
    int client = socket(AF_INET, SOCK_DGRAM, 0), server = socket(AF_INET, SOCK_DGRAM, 0);
    or_die(bind(server, (struct sockaddr *)&at, sizeof at), "bind");
    or_die(connect(client, (struct sockaddr *)&at, sizeof at), "connect");
    for (int n = 0; n < 100; n++)
        round_trip(client, server);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int n = 0; n < times; n++)
        round_trip(client, server);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.4f\n", ((end.tv_sec - start.tv_sec) * 1e6 + (end.tv_nsec - start.tv_nsec) / 1e3) / times / 2);
    return 0;
}
