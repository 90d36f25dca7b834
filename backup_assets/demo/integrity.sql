-- name: invoice_total
-- Number, net, tax and total of all invoices.
SELECT count(*) AS invoices, sum(net) AS net, sum(tax) AS tax, sum(total) AS total FROM invoices;

-- name: invoice_line_total
SELECT count(*) AS lines, sum(amount) AS amount FROM invoice_lines;

-- name: invoices_by_month
SELECT to_char(issued_on, 'YYYY-MM') AS month, count(*) AS invoices, sum(total) AS total
FROM invoices
GROUP BY 1
ORDER BY 1;

-- name: journal_difference
-- Debit less credit: 0 in sound books.
SELECT coalesce(sum(debit) - sum(credit), 0) AS difference FROM journal_entries;

-- name: unbalanced_vouchers
-- Vouchers whose own debit and credit differ: none in sound books.
SELECT count(*) AS vouchers
FROM (SELECT voucher FROM journal_entries GROUP BY voucher HAVING sum(debit) <> sum(credit)) AS unbalanced;

-- name: newest_invoice
SELECT number, issued_on, total FROM invoices ORDER BY number DESC LIMIT 1;

-- name: main_row_counts
SELECT
    (SELECT count(*) FROM customers) AS customers,
    (SELECT count(*) FROM projects) AS projects,
    (SELECT count(*) FROM invoices) AS invoices,
    (SELECT count(*) FROM invoice_lines) AS invoice_lines,
    (SELECT count(*) FROM timesheets) AS timesheets,
    (SELECT count(*) FROM journal_entries) AS journal_entries,
    (SELECT count(*) FROM employees) AS employees,
    (SELECT count(*) FROM users) AS users;

-- name: journal_partitions
SELECT tableoid::regclass::text AS partition, count(*) AS entries
FROM journal_entries
GROUP BY 1
ORDER BY 1;
