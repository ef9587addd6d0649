<?php
// A web application's connection to a service, by PHP-FPM in httpd_t: 200 if it answers as that service does,
// 502 if it says something else, 503 if there is no connection.
$services = [
    'httpd_to_postgresql' => ['127.0.0.1:5432', pack('NN', 8, 80877103), '/^[NS]$/'],  // SSLRequest
    'httpd_to_mysqld' => ['127.0.0.1:3306', '', '/MariaDB/'],
    'httpd_to_redis' => ['127.0.0.1:6379', "PING\r\n", '/^\+PONG/'],
    'httpd_to_memcached' => ['127.0.0.1:11211', "version\r\n", '/^VERSION/'],
    // An anonymous bind, and its result
    'httpd_to_slapd' => [
        '127.0.0.1:389', "\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00", "/^\x30\x0c\x02\x01\x01\x61/",
    ],
    'httpd_to_postfix' => ['10.77.0.2:25', '', '/^220 .*ESMTP/'],
];
if (isset($_GET['pair'])) {
    [$address, $question, $expected] = $services[$_GET['pair']];
    $connection = @stream_socket_client("tcp://$address", $code, $message, 50);
    if (!$connection) {
        http_response_code(503);
        exit("$message\n");
    }
    stream_set_timeout($connection, 50);
    fwrite($connection, $question);
    $answer = fread($connection, 512);
    if (!preg_match($expected, $answer)) {
        http_response_code(502);
        exit(bin2hex($answer) . "\n");
    }
}
echo rtrim(file_get_contents('/proc/self/attr/current'), "\0"), "\n";
