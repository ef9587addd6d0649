/* Copyright: (c) 2026, senet.firewall contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * crowd PROCESSES SOCKETS: so many processes with so many sockets each, half of them TCP that listens, half of them UDP;
 * says "ready" and stays until it is ended, and they with it. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void member(int number, int sockets)
{
    for (int n = 0; n < sockets; n++) {
        int place = number * sockets + n;
        /* Port 0 would be any port, and 127/8 has room for all at one port each. */
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(20000 + n)};
        at.sin_addr.s_addr = htonl(0x7f010000 + place);
        int made = socket(AF_INET, n % 2 ? SOCK_DGRAM : SOCK_STREAM, 0);
        if (made < 0 || bind(made, (struct sockaddr *)&at, sizeof at) < 0 || (n % 2 == 0 && listen(made, 1) < 0)) {
            perror("socket");
            kill(getppid(), SIGTERM);
            _exit(1);
        }
    }
    pause();
    _exit(0);
}

int main(int count, char **words)
{
    if (count != 3) {
        fprintf(stderr, "usage: crowd PROCESSES SOCKETS\n");
        return 2;
    }
    int processes = atoi(words[1]), sockets = atoi(words[2]), parent = getpid();
    for (int number = 0; number < processes; number++) {
        int pid = fork();
        if (pid < 0) {
            perror("fork");
            return 1;
        }
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent)
                _exit(1);
            member(number, sockets);
        }
    }
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
