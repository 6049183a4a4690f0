# What ORMs, migration tools and operators send while a migration follows for weeks: for tests/binlog/test_daily_statements.py.
# A section is carried out in one session, in a database of its own; none of it may stop the run.
# [servers: who sends it]. The tables kept and book are captured: (id INT PRIMARY KEY, title VARCHAR(50), price INT).

[mariadb mysql: Django]
CREATE TABLE `django_migrations` (`id` bigint AUTO_INCREMENT NOT NULL PRIMARY KEY, `app` varchar(255) NOT NULL, `name` varchar(255) NOT NULL, `applied` datetime(6) NOT NULL)
CREATE TABLE `auth_permission` (`id` integer AUTO_INCREMENT NOT NULL PRIMARY KEY, `name` varchar(50) NOT NULL, `content_type_id` integer NOT NULL, `codename` varchar(100) NOT NULL)
ALTER TABLE `auth_permission` ADD CONSTRAINT `auth_permission_content_type_id_codename_01ab375a_uniq` UNIQUE (`content_type_id`, `codename`)
CREATE TABLE `django_content_type` (`id` integer AUTO_INCREMENT NOT NULL PRIMARY KEY, `name` varchar(100) NOT NULL, `model` varchar(100) NOT NULL)
ALTER TABLE `auth_permission` ADD CONSTRAINT `auth_permission_content_type_id_2f476e4b_fk` FOREIGN KEY (`content_type_id`) REFERENCES `django_content_type` (`id`)
ALTER TABLE `django_content_type` MODIFY `name` varchar(100) NULL
ALTER TABLE `django_content_type` DROP COLUMN `name`
ALTER TABLE `auth_permission` MODIFY `name` varchar(255) NOT NULL
INSERT INTO `django_migrations` (`app`, `name`, `applied`) VALUES ('auth', '0001_initial', '2026-01-01 00:00:00.000000')
ALTER TABLE `book` ADD COLUMN `slug` varchar(50) DEFAULT '' NOT NULL
ALTER TABLE `book` ALTER COLUMN `slug` DROP DEFAULT
CREATE INDEX `book_slug_0a1b2c_idx` ON `book` (`slug`)
CREATE INDEX `book_slug_8c2f_like` ON `book` (`slug` DESC)
DROP INDEX `book_slug_0a1b2c_idx` ON `book`
ALTER TABLE `book` MODIFY `title` varchar(80) NULL
RENAME TABLE `auth_permission` TO `auth_perm`
DROP TABLE `auth_perm` CASCADE

[mariadb mysql: Rails]
CREATE TABLE `schema_migrations` (`version` varchar(255) NOT NULL PRIMARY KEY)
CREATE TABLE `ar_internal_metadata` (`key` varchar(255) NOT NULL PRIMARY KEY, `value` varchar(255), `created_at` datetime(6) NOT NULL, `updated_at` datetime(6) NOT NULL)
CREATE TABLE `posts` (`id` bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, `title` varchar(255), `body` text, `created_at` datetime(6) NOT NULL, INDEX `index_posts_on_title` (`title`)) /* ActiveRecord */
ALTER TABLE `posts` ADD `book_id` int /*application:Shop,controller:x*/
CREATE INDEX `index_posts_on_book_id` ON `posts` (`book_id`)
ALTER TABLE `posts` ADD CONSTRAINT `fk_rails_5b5ddfd518` FOREIGN KEY (`book_id`) REFERENCES `book` (`id`)
ALTER TABLE `posts` RENAME INDEX `index_posts_on_title` TO `i`
ALTER TABLE `posts` CHANGE `body` `body` mediumtext DEFAULT NULL
ALTER TABLE `posts` DROP FOREIGN KEY `fk_rails_5b5ddfd518`
ALTER TABLE `posts` DROP COLUMN `body`
ALTER TABLE `book` ADD `summary` text, ADD `pages` int DEFAULT 0 NOT NULL COMMENT 'it''s'
ALTER TABLE `book` ADD INDEX `index_book_on_pages` (`pages`), ALGORITHM = INPLACE, LOCK = NONE
INSERT INTO `schema_migrations` (version) VALUES ('20260101000000')
DROP TABLE IF EXISTS `posts`

[mariadb mysql: Laravel]
create table `migrations` (`id` int unsigned not null auto_increment primary key, `migration` varchar(255) not null, `batch` int not null) default character set utf8mb4 collate 'utf8mb4_unicode_ci'
create table `users` (`id` bigint unsigned not null auto_increment primary key, `email` varchar(190) not null, `remember_token` varchar(100) null, `created_at` timestamp null) default character set utf8mb4 collate 'utf8mb4_unicode_ci' engine = InnoDB
alter table `users` add unique `users_email_unique`(`email`)
alter table `users` add index `users_created_at_index`(`created_at`)
alter table `users` add `deleted_at` timestamp null after `email`
create table `jobs` (`id` bigint unsigned not null primary key)
alter table `users` add constraint `users_x_foreign` foreign key (`id`) references `jobs` (`id`) on delete cascade
create table `cache` (`key` varchar(190) not null, `value` mediumtext not null, `expiration` int not null, primary key (`key`)) default character set utf8mb4
alter table `book` add `isbn` varchar(20) null, add `stock` int unsigned not null default '0' after `price`
alter table `book` add index `book_isbn_index`(`isbn`)
alter table `book` drop index `book_isbn_index`
rename table `users` to `people`
truncate table `cache`
truncate `cache`
drop table if exists `people`, `cache`

[mariadb mysql: Flyway]
CREATE TABLE `flyway_schema_history` (`installed_rank` INT NOT NULL, `version` VARCHAR(50), `description` VARCHAR(200) NOT NULL, `success` BOOL NOT NULL, CONSTRAINT `flyway_schema_history_pk` PRIMARY KEY (`installed_rank`)) ENGINE=InnoDB
CREATE INDEX `flyway_schema_history_s_idx` ON `flyway_schema_history` (`success`)
/* V2__views.sql */ CREATE OR REPLACE VIEW cheap AS SELECT id, title FROM book WHERE price < 10
-- V3
CREATE TABLE stage (id INT PRIMARY KEY) /*!50100 ENGINE=InnoDB */ /*!40101 DEFAULT CHARSET=utf8mb4 */
/*!40101 SET NAMES utf8 */
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */
/*!40000 ALTER TABLE `stage` DISABLE KEYS */
/*!40000 ALTER TABLE `stage` ENABLE KEYS */
DROP VIEW cheap
DROP TABLE stage
SELECT GET_LOCK('Flyway', 1)

[mariadb mysql: Liquibase]
CREATE TABLE DATABASECHANGELOGLOCK (ID INT NOT NULL, `LOCKED` TINYINT NOT NULL, LOCKGRANTED datetime NULL, LOCKEDBY VARCHAR(255) NULL, CONSTRAINT PK_DATABASECHANGELOGLOCK PRIMARY KEY (ID))
DELETE FROM DATABASECHANGELOGLOCK
INSERT INTO DATABASECHANGELOGLOCK (ID, `LOCKED`) VALUES (1, 0)
CREATE TABLE person (id INT AUTO_INCREMENT NOT NULL, name VARCHAR(50) NULL, CONSTRAINT PK_PERSON PRIMARY KEY (id), UNIQUE (name))
ALTER TABLE person ADD country VARCHAR(2) NULL
ALTER TABLE person ADD CONSTRAINT fk_p FOREIGN KEY (id) REFERENCES book (id) ON UPDATE RESTRICT ON DELETE CASCADE
ALTER TABLE person CHANGE country state VARCHAR(2)
ALTER TABLE person RENAME human
ALTER TABLE book ADD author VARCHAR(50) NULL, ADD CONSTRAINT u_book UNIQUE (author)
ALTER TABLE book DROP KEY u_book
ALTER TABLE book COMMENT = 'every book; "quoted"'
DROP TABLE human

[mariadb mysql: Prisma]
CREATE TABLE `_prisma_migrations` (id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL, started_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), applied_steps_count INTEGER UNSIGNED NOT NULL DEFAULT 0) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
CREATE TABLE `Profile` (`id` INTEGER NOT NULL AUTO_INCREMENT, `bio` VARCHAR(191) NULL, `bookId` INTEGER NOT NULL, UNIQUE INDEX `Profile_bookId_key`(`bookId`), PRIMARY KEY (`id`)) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
-- AddForeignKey
ALTER TABLE `Profile` ADD CONSTRAINT `Profile_bookId_fkey` FOREIGN KEY (`bookId`) REFERENCES `book`(`id`) ON DELETE RESTRICT ON UPDATE RESTRICT
CREATE UNIQUE INDEX `book_title_key` ON `book`(`title`)
DROP INDEX `book_title_key` ON `book`
ALTER TABLE `book` ADD COLUMN `updatedAt` DATETIME(3) NULL
ALTER TABLE `Profile` DROP FOREIGN KEY `Profile_bookId_fkey`
DROP TABLE `Profile`

[mariadb mysql: Alembic]
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))
CREATE TABLE account (id INTEGER NOT NULL AUTO_INCREMENT, name VARCHAR(50) NOT NULL, description NVARCHAR(200), PRIMARY KEY (id))
CREATE UNIQUE INDEX ix_account_name ON account (name)
ALTER TABLE account ADD COLUMN last_transaction_date DATETIME
ALTER TABLE account MODIFY description VARCHAR(100) NULL
ALTER TABLE account CHANGE name account_name VARCHAR(50) NOT NULL
ALTER TABLE book ADD COLUMN note VARCHAR(9)
INSERT INTO alembic_version (version_num) VALUES ('1975ea83b712')
UPDATE alembic_version SET version_num='ae1027a6acf' WHERE alembic_version.version_num = '1975ea83b712'
DROP TABLE account

[mariadb mysql: accounts]
CREATE USER IF NOT EXISTS 'daily'@'10.%' IDENTIFIED BY 'Secret-1' WITH MAX_USER_CONNECTIONS 5
GRANT SELECT, INSERT, UPDATE (title) ON book TO 'daily'@'10.%'
GRANT PROCESS, RELOAD ON *.* TO 'daily'@'10.%'
ALTER USER 'daily'@'10.%' IDENTIFIED BY 'Secret-2' ACCOUNT LOCK
CREATE ROLE IF NOT EXISTS 'daily_role'
GRANT 'daily_role' TO 'daily'@'10.%'
REVOKE SELECT ON book FROM 'daily'@'10.%'
RENAME USER 'daily'@'10.%' TO 'daily2'@'%'
DROP USER 'daily2'@'%'
DROP ROLE IF EXISTS daily_role
FLUSH PRIVILEGES

[mariadb mysql: stored programs]
CREATE PROCEDURE p(IN x INT) COMMENT 'TRUNCATE TABLE book' BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION ROLLBACK; START TRANSACTION; UPDATE book SET price = price + x; COMMIT; END
CALL p(1)
CREATE FUNCTION f(x INT) RETURNS INT DETERMINISTIC NO SQL RETURN x * 2
CREATE DEFINER=CURRENT_USER SQL SECURITY INVOKER VIEW dear AS SELECT * FROM book WHERE price > 100 WITH CHECK OPTION
CREATE TRIGGER stamp BEFORE UPDATE ON book FOR EACH ROW SET NEW.title = TRIM(NEW.title)
UPDATE book SET price = f(price)
DROP TRIGGER stamp
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS CURRENT_TIMESTAMP + INTERVAL 1 DAY ON COMPLETION PRESERVE DO DELETE FROM book WHERE price < 0
ALTER EVENT nightly DISABLE
DROP EVENT nightly
DROP PROCEDURE p
DROP FUNCTION f
DROP VIEW dear

[mariadb mysql: maintenance]
ANALYZE TABLE book, kept
OPTIMIZE TABLE book
CHECK TABLE book
FLUSH TABLES
FLUSH BINARY LOGS
FLUSH LOGS
ALTER TABLE book ENGINE=InnoDB
ALTER TABLE book FORCE
ALTER TABLE book AUTO_INCREMENT=1000
ALTER TABLE book ROW_FORMAT=DYNAMIC STATS_PERSISTENT=1
ALTER TABLE book ADD CONSTRAINT positive CHECK (price > -1000)
ALTER TABLE book DROP CONSTRAINT positive
CREATE TABLE report AS SELECT price, COUNT(*) AS n FROM book GROUP BY price
CREATE TEMPORARY TABLE book (id INT)
INSERT INTO book VALUES (1)
TRUNCATE TABLE book
DROP TEMPORARY TABLE book
CREATE TABLE old_book LIKE book
INSERT INTO old_book SELECT * FROM book
RENAME TABLE report TO report_old
DROP TABLE report_old, old_book
CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MEMORY
INSERT INTO m VALUES (1)
DROP TABLE IF EXISTS `m`

[mariadb: MariaDB's own]
CREATE USER IF NOT EXISTS mine
SET PASSWORD FOR mine = PASSWORD('Secret-3')
DROP USER mine
CREATE OR REPLACE TABLE scratch (id INT PRIMARY KEY)
CREATE OR REPLACE TABLE scratch SELECT * FROM book
SET STATEMENT max_statement_time=10 FOR CREATE TABLE slow (id INT)
SET STATEMENT max_statement_time=10 FOR ALTER TABLE book ADD INDEX (price)
CREATE SEQUENCE s START WITH 100 INCREMENT BY 10 CACHE 50
SELECT NEXTVAL(s)
ALTER SEQUENCE s RESTART 500
ALTER ONLINE TABLE slow ADD COLUMN IF NOT EXISTS x INT
CREATE TABLE v (id INT PRIMARY KEY) WITH SYSTEM VERSIONING
DROP TABLE IF EXISTS slow, v WAIT 5
DROP SEQUENCE s

[mysql: MySQL's own]
ALTER TABLE book ADD COLUMN instant INT, ALGORITHM=INSTANT
ALTER TABLE book ALTER COLUMN instant SET INVISIBLE
ANALYZE TABLE book UPDATE HISTOGRAM ON price WITH 8 BUCKETS
CREATE TABLE copied TABLE book
WITH cheap AS (SELECT id FROM book) UPDATE copied JOIN cheap USING (id) SET copied.price = 1
ALTER TABLE copied ADD INDEX i ((price + 1))
ALTER TABLE copied ALTER INDEX i INVISIBLE
CREATE USER IF NOT EXISTS mine IDENTIFIED BY 'Secret-2'
SET PASSWORD FOR mine = 'Secret-3'
DROP USER mine
DROP TABLE copied
